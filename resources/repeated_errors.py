"""Errors of a loop that goes on after them: one line per minute names the cause."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from resources.failure_classification import sentence_of

PERIOD_S = 60.0


@dataclass
class RepeatedErrors:
    """The errors of one loop. `report` writes a line, `what` names what failed: "reading the queue"."""

    report: Callable[[str], None]
    what: str
    clock: Callable[[], float] = time.monotonic
    _unreported: int = 0
    _next_report: float | None = None

    @contextmanager
    def tolerated(self, *kinds: type[Exception]) -> Iterator[None]:
        """Suppress errors of these kinds, and report one per period, with the number of those before it."""
        try:
            yield
        except kinds as failure:
            self._record(failure)

    def _record(self, failure: Exception) -> None:
        now = self.clock()
        if self._next_report is not None and now < self._next_report:
            self._unreported += 1
            return
        before = f" ({self._unreported} more before)" if self._unreported else ""
        self._unreported, self._next_report = 0, now + PERIOD_S
        self.report(f"{self.what} failed and is tried again: {sentence_of(failure)}{before}")
