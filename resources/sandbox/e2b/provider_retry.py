"""Retry of idempotent calls with a pause, as long as a retry can help."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from e2b import FileNotFoundException

from resources.sandbox.e2b.provider_errors import Cause, Failed, Phase, cause_of

T = TypeVar("T")

PAUSES_S = (0.1, 0.3, 1.0, 3.0, 5.0)
_QUOTA_PAUSE_S = 1.0
_HOPELESS = frozenset({Cause.GONE, Cause.REFUSED, Cause.DENIED, Cause.FULL, Cause.BROKEN})


async def persist(call: Callable[[], Awaitable[T]], phase: Phase) -> T:
    """The result of the call. Raises Failed when retries are exhausted, and FileNotFoundException unchanged.

    A 429 is retried without a limit; the caller can be canceled.
    """
    pauses = iter(PAUSES_S)
    while True:
        try:
            return await call()
        except FileNotFoundException:
            raise
        except Exception as error:
            raise_if_cancelled(error)
            cause = cause_of(error)
            pause = _QUOTA_PAUSE_S if cause is Cause.QUOTA else next(pauses, None)
            if pause is None or cause in _HOPELESS:
                raise Failed(phase, cause, f"{type(error).__name__}: {error}") from error
        await asyncio.sleep(pause)


def raise_if_cancelled(error: Exception) -> None:
    """Raise the cancellation of the current task if an SDK call has turned it into another error."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError from error


async def uninterrupted(work: Awaitable[T]) -> T:
    """Finish `work` even if canceled meanwhile; the cancellation continues afterwards."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as cancellation:
            cancelled = cancellation
    if cancelled is not None:
        raise cancelled
    return task.result()
