"""Repetition of work after passing failures, with growing pauses and a bound."""

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from resources.failure_classification import kind_of
from sisu_pipeline.domain.failure_kind import FailureKind

Result = TypeVar("Result")


@dataclass(frozen=True)
class Backoff:
    """The pauses between attempts, in seconds: each is twice the last, up to `longest_s`.

    With `spread`, each lasts between nothing and this length, at random: callers that collided do not meet again.
    """

    first_s: float
    longest_s: float
    retries: int
    spread: bool = False

    def pauses(self) -> Iterator[float]:
        """The pause before each retry."""
        for number in range(self.retries):
            pause = min(self.first_s * 2**number, self.longest_s)
            yield random.uniform(0.0, pause) if self.spread else pause  # noqa: S311 - no secret

    @property
    def total_s(self) -> float:
        """The sum of the longest pauses."""
        return sum(replace(self, spread=False).pauses())


A_MINUTE = Backoff(first_s=0.25, longest_s=5.0, retries=15)
"""For work that a caller waits for: 58 seconds of pauses."""
TEN_MINUTES = Backoff(first_s=0.5, longest_s=30.0, retries=25)
"""For work from a queue, which no caller waits for: ten minutes of pauses."""


def retry_passing(attempt: Callable[[], Result], backoff: Backoff) -> Result:
    """Call `attempt`, again after each passing failure; return its result. Raises what the last attempt raises.

    `attempt` must be safe to repeat: a failure may interrupt it anywhere.
    """
    for pause in backoff.pauses():
        try:
            return attempt()
        except Exception as failure:
            if not _is_passing(failure):
                raise
        threading.Event().wait(pause)
    return attempt()


def _is_passing(failure: BaseException) -> bool:
    return kind_of(failure) is FailureKind.PASSING


async def retry_passing_async(
    attempt: Callable[[], Awaitable[Result]],
    backoff: Backoff,
    is_passing: Callable[[BaseException], bool] = _is_passing,
) -> Result:
    """The same on an event loop; `is_passing` can narrow which failures are repeated."""
    for pause in backoff.pauses():
        try:
            return await attempt()
        except Exception as failure:
            if not is_passing(failure):
                raise
        await asyncio.sleep(pause)
    return await attempt()
