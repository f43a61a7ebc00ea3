"""Dagster's Postgres storage for long-lived processes: pooled connections, introspection remembered.

The stock storage opens a connection per statement and asks the catalogue for its own columns once per event
(design §7); both are fixed here without touching what it stores.
"""

import functools
from collections.abc import Callable
from typing import Any

from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.storage import DagsterPostgresStorage

STATEMENT_TIMEOUT_MS = 60_000
POOL_RECYCLE_S = 3600
MAX_OVERFLOW = 20


def _remember(cls: type, name: str) -> None:
    inspect: Callable[..., Any] = getattr(cls, name)
    seen: dict[tuple[Any, ...], Any] = {}

    @functools.wraps(inspect)
    def remembered(self: Any, *arguments: Any) -> Any:
        if not seen.get(arguments):  # a column that is missing may be migrated in; one that is there stays
            seen[arguments] = inspect(self, *arguments)
        return seen[arguments]

    setattr(cls, name, remembered)


_remember(SqlRunStorage, "has_run_stats_index_cols")
_remember(PostgresEventLogStorage, "has_table")


class PooledPostgresStorage(DagsterPostgresStorage):
    """`storage: {custom: {module: sisu_pipeline.storage, class: PooledPostgresStorage, …}}`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            storage.optimize_for_webserver(
                statement_timeout=STATEMENT_TIMEOUT_MS,
                pool_recycle=POOL_RECYCLE_S,
                max_overflow=MAX_OVERFLOW,
            )
