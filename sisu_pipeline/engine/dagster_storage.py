"""Dagster's Postgres storage for long-lived processes: pooled connections, introspection remembered.

The stock storage opens a connection per statement and reads the catalogue again and again to see whether
its own tables and indexes have been migrated (design §7). Both are changed here; what it stores is not.
"""

import functools
from collections.abc import Callable
from typing import Any, Self

from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from dagster._core.storage.schedules.sql_schedule_storage import SqlScheduleStorage
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage
from dagster_postgres.utils import create_pg_engine

from resources import connection_fence
from sisu_pipeline.engine.event_batching import BufferedEventLogStorage

KEPT_CONNECTIONS = 4
MOST_CONNECTIONS = 24
RECYCLE_S = 3600


def _remember(cls: type, name: str) -> None:
    """Ask once per process: what is migrated stays migrated. Only a yes is remembered."""
    inspect: Callable[..., bool] = getattr(cls, name)
    migrated: set[tuple[str, ...]] = set()

    @functools.wraps(inspect)
    def remembered(self: Any, *arguments: Any) -> bool:
        question = tuple(argument for argument in arguments if isinstance(argument, str))
        if question not in migrated and inspect(self, *arguments):
            migrated.add(question)
        return question in migrated

    setattr(cls, name, remembered)


_INTROSPECTION = {
    SqlRunStorage: (
        "has_run_stats_index_cols",
        "has_backfill_id_column",
        "has_bulk_actions_selector_cols",
    ),
    SqlScheduleStorage: (
        "has_instigators_table",
        "_has_instigators_table",
        "has_secondary_index_table",
        "has_built_index",
    ),
    SqlEventLogStorage: (
        "has_asset_key_col",
        "has_asset_key_index_cols",
        "_has_asset_key_col_on_connection",
        "_has_asset_key_index_cols_on_connection",
        "has_concurrency_limits_table",
        "has_default_pool_limit_col",
    ),
    PostgresEventLogStorage: ("has_table",),
}
for _storage, _names in _INTROSPECTION.items():
    for _name in _names:
        _remember(_storage, _name)


class PooledPostgresStorage(DagsterPostgresStorage):
    """`storage: {custom: {module: sisu_pipeline.engine.dagster_storage, class: PooledPostgresStorage, …}}`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._event_log_storage = BufferedEventLogStorage(
            self.postgres_url, should_autocreate_tables=self.should_autocreate_tables
        )
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            storage._engine.dispose()
            storage._engine = create_pg_engine(
                self.postgres_url,
                isolation_level="AUTOCOMMIT",
                pool_size=KEPT_CONNECTIONS,
                max_overflow=MOST_CONNECTIONS - KEPT_CONNECTIONS,
                pool_recycle=RECYCLE_S,
            )
            # After a restart of Postgres a kept connection is dead: found out before it is used.
            connection_fence.guard(storage._engine)
            connection_fence.watch(storage._engine)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        """Dagster's constructor; the parent's builds the parent."""
        return cls(
            postgres_url=config_value["postgres_url"],
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
            inst_data=inst_data,
        )
