"""Rate limits of an E2B plan: concurrent sandboxes, creations per second, and backoff after a 429."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 2.0
# Burst: the part of its rate that a busy process could not use a moment ago.
_CATCH_UP_S = 0.5


class Quota:
    """The limits of one account within one process. If others use the same account, E2B answers 429.

    A 429 is not a failure. It pauses all creations of this process, twice as long each time in a row.
    """

    def __init__(self, concurrency: int, creates_per_second: float) -> None:
        self._alive = asyncio.Semaphore(concurrency)
        self._interval_s = 1 / creates_per_second
        self._next = 0.0
        self._paused_until = 0.0
        self._pause_s = _FIRST_PAUSE_S
        self.refusals = 0

    @asynccontextmanager
    async def sandbox(self) -> AsyncIterator[None]:
        """Permission to hold one sandbox for the duration of the block."""
        async with self._alive:
            yield

    async def turn(self) -> None:
        """Wait until a sandbox may be created."""
        clock = asyncio.get_running_loop().time
        while True:
            at = max(self._next, clock() - _CATCH_UP_S, self._paused_until)
            self._next = at + self._interval_s
            await asyncio.sleep(max(0.0, at - clock()))
            if clock() >= self._paused_until:
                return

    def refused(self) -> None:
        """Record a 429: all following creations wait for a pause."""
        self.refusals += 1
        now = asyncio.get_running_loop().time()
        if now >= self._paused_until:  # otherwise another caller has recorded it already
            self._paused_until = now + self._pause_s
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)

    def admitted(self) -> None:
        """Record a successful creation: the account is not exhausted."""
        self._pause_s = _FIRST_PAUSE_S
