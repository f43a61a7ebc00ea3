"""Whether the database answers and can be written to, for a load balancer that asks again and again."""

import asyncio

from anyio import move_on_after
from fastapi.concurrency import run_in_threadpool

from sisu_pipeline.api.state.connection_pool import Pool
from sisu_pipeline.store.queues import engine_tables

TIMEOUT_S = 3.0


class Readiness:
    """The answer to one question at a time: a database that hangs holds one thread, however often it is asked."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._asked: asyncio.Task[bool] | None = None

    async def is_ready(self) -> bool:
        """Whether the database has answered in time. Raises what a statement raises in a database that is away."""
        if self._asked is None or self._asked.done():
            self._asked = asyncio.create_task(run_in_threadpool(self._pool.glance, engine_tables.is_writer))
            # Retrieve the exception: asyncio logs one that nobody retrieved, and the waiting request may be gone.
            self._asked.add_done_callback(lambda asked: asked.cancelled() or asked.exception())
        with move_on_after(TIMEOUT_S):
            return await asyncio.shield(self._asked)
        return False
