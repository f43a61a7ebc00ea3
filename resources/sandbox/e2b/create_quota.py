"""Staying inside a plan: so many sandboxes at once, so many new ones per second, and patience with a 429."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 2.0
# What a busy process could not use of its rate a moment ago, it may use now.
_CATCH_UP_S = 0.5


class Quota:
    """One account's limits as one process keeps them. Others may use the same account: then E2B says 429.

    A refusal is never a failure. It pauses everybody who wants to create, twice as long each time in a row.
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
        """The right to have one sandbox, while the block lasts."""
        async with self._alive:
            yield

    async def turn(self) -> None:
        """Return when one may be created."""
        clock = asyncio.get_running_loop().time
        while True:
            at = max(self._next, clock() - _CATCH_UP_S, self._paused_until)
            self._next = at + self._interval_s
            await asyncio.sleep(max(0.0, at - clock()))
            if clock() >= self._paused_until:
                return

    def refused(self) -> None:
        """E2B said 429: the next turns, ours too, are after a pause."""
        self.refusals += 1
        now = asyncio.get_running_loop().time()
        if now >= self._paused_until:  # else another one has heard of it already
            self._paused_until = now + self._pause_s
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)

    def admitted(self) -> None:
        """E2B created one: the account is not exhausted."""
        self._pause_s = _FIRST_PAUSE_S
