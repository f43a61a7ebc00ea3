"""Dagster's event log, written in batches while a segment runs.

One statement per event costs a third of a worker's CPU. A segment's events are buffered for at most a tenth of
a second, or until the segment ends, and inserted in order with one statement. A worker that dies loses the
buffered events only: the next segment starts those steps again, and each finds its committed row.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

import dagster as dg
from dagster import DagsterError, EventLogEntry
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster_postgres import PostgresEventLogStorage
from sqlalchemy.exc import DBAPIError

from resources import connection_fence
from resources.failure_classification import is_database_away
from sisu_pipeline.crash_points import crash_point

FLUSH_SECONDS = 0.1
LARGEST_BATCH = 200


def batched_events(instance: dg.DagsterInstance) -> AbstractContextManager[None]:
    """Write the instance's events in batches inside the block; with another event log, one by one as usual."""
    storage = instance.event_log_storage
    return storage.buffered() if isinstance(storage, BufferedEventLogStorage) else nullcontext()


class BufferedEventLogStorage(PostgresEventLogStorage):
    """The Postgres event log, which writes in batches inside `with storage.buffered():`."""

    _buffer: list[EventLogEntry] | None = None
    _unindexed: tuple[tuple[EventLogEntry, int], ...] = ()
    _lock = threading.RLock()

    @contextmanager
    def buffered(self) -> Iterator[None]:
        """Buffer events and write them in batches; all are written when the block ends, also by an exception."""
        stop = threading.Event()
        flusher = threading.Thread(target=self._flush_regularly, args=(stop,), name="event-flush", daemon=True)
        with self._lock:
            self._buffer = []
        flusher.start()
        try:
            yield
        finally:
            stop.set()
            flusher.join()
            with self._lock:
                try:
                    self._flush()
                finally:
                    # Events that cannot be written are lost with their segment, and stop no later event.
                    self._buffer, self._unindexed = None, ()

    def store_event(self, event: EventLogEntry) -> None:
        """Write the event at once or add it to the next batch. A change of the run's status is written at once."""
        with self._lock:
            if self._buffer is None or not _is_plain(event):
                self._flush()
                super().store_event(event)
                return
            self._buffer.append(event)
            if len(self._buffer) >= LARGEST_BATCH:
                self._flush()

    def _flush_regularly(self, stop: threading.Event) -> None:
        while not stop.wait(FLUSH_SECONDS):
            # A failed flush keeps its events for the next one; the flush at the block's end raises.
            with self._lock, suppress(DBAPIError, DagsterError, OSError):
                self._flush()

    def _flush(self) -> None:
        try:
            self._write()
        except Exception as failure:
            # Some of the driver's errors do not pass through the engine's error handler (`connection_fence.watch`).
            if is_database_away(failure):
                connection_fence.connection_broke()
            raise

    def _write(self) -> None:
        if self._buffer:
            batch = tuple(self._buffer)
            crash_point("events.flush.before")
            with self._connect() as connection:
                statement = self.prepare_insert_event_batch(batch).returning(SqlEventLogStorageTable.c.id)
                ids = [int(row[0]) for row in connection.execute(statement).fetchall()]
            crash_point("events.flush.after")
            self._buffer = self._buffer[len(batch) :]
            self._unindexed += tuple(pair for pair in zip(batch, ids, strict=True) if _asset_of(pair[0]))
        if self._unindexed:
            self._store_assets(self._unindexed)
            self._unindexed = ()

    def _store_assets(self, assets: Sequence[tuple[EventLogEntry, int]]) -> None:
        """Write what the stock storage writes with each asset event: its tags, and the asset's last event."""
        last = {_asset_of(event): (event, number) for event, number in assets}
        with self.index_transaction() as connection:
            self._store_asset_event_tags(
                connection, [event for event, _ in assets], [number for _, number in assets]
            )
            for event, number in last.values():
                self._store_asset_event(connection, event, number)


def _is_plain(event: EventLogEntry) -> bool:
    """Whether the event may wait for the next batch: neither a run's change of status nor an asset check."""
    if event.dagster_event is None:
        return True
    return not event.dagster_event.is_job_event and event.dagster_event_type not in ASSET_CHECK_EVENTS


def _asset_of(event: EventLogEntry) -> str | None:
    if event.dagster_event is None or event.dagster_event_type not in ASSET_EVENTS:
        return None
    key = event.dagster_event.asset_key
    return key.to_string() if key else None
