"""Whose token a request carries: one question to the database for all who came while the last was asked."""

import asyncio

from fastapi.concurrency import run_in_threadpool

from sisu_pipeline.api.pool import Pool
from sisu_pipeline.store import tokens
from sisu_pipeline.store.tokens import Lookup


class Lookups:
    """Looks tokens up, together. It remembers nothing: a request asks after it came, so a revoked token is
    unknown to the very next one. All methods belong to the event loop.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: dict[str | None, asyncio.Future[Lookup]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def of(self, token: str | None) -> Lookup:
        """What this token is worth now. Raises what the database raises."""
        asked = self._waiting.get(token)
        if asked is None:
            asked = self._waiting[token] = asyncio.get_running_loop().create_future()
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        # A client that leaves must not end the question of the others.
        return await asyncio.shield(asked)

    async def _ask(self) -> None:
        try:
            while self._waiting:
                asked, self._waiting = self._waiting, {}
                await self._answer(asked)
        finally:
            self._asking = None

    async def _answer(self, asked: dict[str | None, asyncio.Future[Lookup]]) -> None:
        try:
            found = await run_in_threadpool(self._look_up, list(asked))
        except Exception as failure:
            for future in asked.values():
                future.set_exception(failure)
                future.exception()  # a client that left does not want to know
            return
        for token, future in asked.items():
            future.set_result(found[token])

    def _look_up(self, given: list[str | None]) -> dict[str | None, Lookup]:
        return self._pool.glance(lambda connection: tokens.look_up_all(connection, given))
