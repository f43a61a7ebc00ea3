"""Calls that may be repeated: again after a pause, as long as that can help."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from e2b import FileNotFoundException

from resources.sandbox.e2b.errors import Cause, Failed, Phase, cause_of

T = TypeVar("T")

PAUSES_S = (0.1, 0.3, 1.0, 3.0, 5.0)
_QUOTA_PAUSE_S = 1.0
_HOPELESS = frozenset({Cause.GONE, Cause.REFUSED, Cause.DENIED, Cause.FULL, Cause.BROKEN})


async def persist(call: Callable[[], Awaitable[T]], phase: Phase) -> T:
    """The call's answer. Raises Failed when it cannot be had, FileNotFoundException as it comes.

    A 429 is waited for without end; whoever waits can be cancelled.
    """
    pauses = iter(PAUSES_S)
    while True:
        try:
            return await call()
        except FileNotFoundException:
            raise
        except Exception as error:
            cause = cause_of(error)
            pause = _QUOTA_PAUSE_S if cause is Cause.QUOTA else next(pauses, None)
            if pause is None or cause in _HOPELESS:
                raise Failed(phase, cause, f"{type(error).__name__}: {error}") from error
        await asyncio.sleep(pause)


async def uninterrupted(work: Awaitable[T]) -> T:
    """Finish `work` even when cancelled meanwhile; the cancellation follows then."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
