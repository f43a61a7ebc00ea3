"""Dagster's Postgres storage for long-lived processes: pooled connections, cached schema checks.

The stock storage opens a connection per statement and queries the catalog before many of them to find out
whether its own tables, columns and indexes exist. This one changes both, and nothing of what is stored.
"""

import functools
import inspect
from typing import Any, Self

from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from dagster._core.storage.schedules.sql_schedule_storage import SqlScheduleStorage
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage
from dagster_postgres.utils import create_pg_engine

from resources import connection_fence
from sisu_pipeline.engine.event_batching import BufferedEventLogStorage
from sisu_pipeline.engine.run_identity import IdentifiedRunStorage

POOL_SIZE = 4
MAX_CONNECTIONS = 24
RECYCLE_S = 3600


def _cache_when_true(cls: type, name: str) -> None:
    """Replace a schema check by one that queries the catalog until it is true: migrations only add.

    The cache is the process's and its key the database and the text arguments, such as a table's name. Raises
    TypeError when the class does not define the check as a method, because a replaced property would be true
    without a check.
    """
    check = vars(cls).get(name)
    if not inspect.isfunction(check):
        raise TypeError(
            f"{cls.__name__}.{name} is not a method in this release of Dagster: remove it from SCHEMA_CHECKS"
        )
    present: set[tuple[str, ...]] = set()

    @functools.wraps(check)
    def cached(self: Any, *arguments: Any) -> bool:
        key = (
            getattr(self, "postgres_url", str(id(self))),
            *(argument for argument in arguments if isinstance(argument, str)),
        )
        if key not in present and check(self, *arguments):
            present.add(key)
        return key in present

    setattr(cls, name, cached)


SCHEMA_CHECKS: dict[type, tuple[str, ...]] = {
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
    ),
    PostgresEventLogStorage: ("has_table",),
}
for _storage, _names in SCHEMA_CHECKS.items():
    for _name in _names:
        _cache_when_true(_storage, _name)


class PooledPostgresStorage(DagsterPostgresStorage):
    """Dagster's Postgres storage with one connection pool per part, and a buffered event log.

    `dagster.yaml` names it as `storage.custom`, with `postgres_url` and optionally `should_autocreate_tables`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._event_log_storage = BufferedEventLogStorage(
            self.postgres_url, should_autocreate_tables=self.should_autocreate_tables
        )
        self._run_storage = IdentifiedRunStorage(
            self.postgres_url, should_autocreate_tables=self.should_autocreate_tables
        )
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            storage._engine.dispose()
            storage._engine = create_pg_engine(
                self.postgres_url,
                isolation_level="AUTOCOMMIT",
                pool_size=POOL_SIZE,
                max_overflow=MAX_CONNECTIONS - POOL_SIZE,
                pool_recycle=RECYCLE_S,
            )
            # A restart of Postgres closes pooled connections: each is checked before it is used.
            connection_fence.guard(storage._engine)
            connection_fence.watch(storage._engine)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        """Create the storage from `dagster.yaml`. The parent's method would create the parent class."""
        return cls(
            postgres_url=config_value["postgres_url"],
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
            inst_data=inst_data,
        )
