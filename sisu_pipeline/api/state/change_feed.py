"""Change notifications: one LISTEN connection for the process, one asyncio event per watcher."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

from resources.database import Database
from resources.notifications import listen_async
from resources.repeated_errors import RepeatedErrors
from resources.writer_connections import AsyncWriterConnection

EVERY_RUN = "*"
# Every change of a run's status or last step, every gate and every decision; the payload is the run id.
_CHANNEL = "sisu_runs"
_RECONNECT_S = 0.5

logger = logging.getLogger(__name__)


class RunFeed:
    """Wakes watchers when Postgres announces a change of their run. All methods belong to the event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watchers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._listener: asyncio.Task[None] | None = None
        self.is_closed = False

    @property
    def watcher_count(self) -> int:
        """How many streams are open."""
        return sum(map(len, self._watchers.values()))

    def open(self) -> None:
        """Start listening."""
        self._listener = asyncio.create_task(self._listen())

    def close(self) -> None:
        """End every watcher, because the process is stopping."""
        self.is_closed = True
        self._wake_all()

    async def stop(self) -> None:
        """Close, and give the connection back."""
        self.close()
        if self._listener is not None:
            self._listener.cancel()
            with suppress(asyncio.CancelledError):
                await self._listener

    @contextmanager
    def watch(self, run_id: str) -> Iterator[asyncio.Event]:
        """An event that is set at every change of the run (or of `EVERY_RUN`), as long as the context lasts."""
        changed = asyncio.Event()
        self._watchers[run_id].add(changed)
        try:
            yield changed
        finally:
            self._watchers[run_id].discard(changed)
            if not self._watchers[run_id]:
                del self._watchers[run_id]

    async def _listen(self) -> None:
        errors = RepeatedErrors(logger.warning, "listening for changes")
        while True:
            with errors.tolerated(psycopg.Error, OSError):
                await self._listen_once()
            await asyncio.sleep(_RECONNECT_S)

    async def _listen_once(self) -> None:
        async with await AsyncWriterConnection.connect(
            self._database.url, autocommit=True, application_name="sisu-api-feed"
        ) as connection:
            await listen_async(connection, _CHANNEL)
            # Changes during the interruption were not announced to this process.
            self._wake_all()
            async for notice in connection.notifies():
                for changed in (*self._watchers.get(notice.payload, ()), *self._watchers.get(EVERY_RUN, ())):
                    changed.set()

    def _wake_all(self) -> None:
        for watchers in self._watchers.values():
            for changed in watchers:
                changed.set()
