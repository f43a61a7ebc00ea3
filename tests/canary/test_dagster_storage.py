"""The pooled storage: its pools are the ones in use, and a schema check that was true sends no statement again."""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from dagster._core.storage.schedules.sql_schedule_storage import SqlScheduleStorage
from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage, PostgresScheduleStorage
from sqlalchemy.pool import QueuePool

from sisu_pipeline.engine import dagster_storage
from sisu_pipeline.engine.dagster_storage import SCHEMA_CHECKS, PooledPostgresStorage
from sisu_pipeline.engine.event_batching import BufferedEventLogStorage
from tests.canary.statements import statements

PATCHED = [(cls, name) for cls, names in SCHEMA_CHECKS.items() for name in names]
PARTS = ("run_storage", "event_log_storage", "schedule_storage")

ARGUMENTS = {
    "has_asset_key_col": ["last_materialization_timestamp"],
    "_has_asset_key_col_on_connection": ["last_materialization_timestamp"],
    "has_built_index": ["schedule_jobs_selector_id"],
    "has_table": ["event_logs"],
}


def owner(storage: PooledPostgresStorage, cls: type) -> Any:
    """The part of the storage that has the checks of a class."""
    parts: dict[type, Any] = {
        SqlRunStorage: storage.run_storage,
        SqlScheduleStorage: storage.schedule_storage,
        SqlEventLogStorage: storage.event_log_storage,
        PostgresEventLogStorage: storage.event_log_storage,
    }
    return parts[cls]


@pytest.fixture
def empty_caches() -> Iterator[None]:
    """Every check as in a new process; the caches of this one are back afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        for cls, name in PATCHED:
            patch.setattr(cls, name, inspect.unwrap(vars(cls)[name]))
        for cls, name in PATCHED:
            dagster_storage._cache_when_true(cls, name)
        yield


@pytest.mark.parametrize(("cls", "name"), PATCHED, ids=lambda value: getattr(value, "__name__", value))
def test_a_patched_check_is_a_method_of_the_class_that_the_patch_names(cls: type, name: str) -> None:
    original = inspect.unwrap(vars(cls)[name])
    assert inspect.isfunction(original)
    assert original.__qualname__ == f"{cls.__name__}.{name}"
    assert original is not vars(cls)[name]


@pytest.mark.parametrize(("cls", "name"), PATCHED, ids=lambda value: getattr(value, "__name__", value))
def test_no_subclass_replaces_a_patched_check(cls: type, name: str) -> None:
    for used in (PostgresRunStorage, PostgresScheduleStorage, BufferedEventLogStorage):
        if issubclass(used, cls):
            assert next(parent for parent in used.__mro__ if name in vars(parent)) is cls


@pytest.mark.usefixtures("empty_caches")
@pytest.mark.parametrize(("cls", "name"), PATCHED, ids=lambda value: getattr(value, "__name__", value))
def test_the_first_check_queries_the_catalog_and_the_second_sends_nothing(
    storage: PooledPostgresStorage, cls: type, name: str
) -> None:
    part = owner(storage, cls)
    arguments: list[Any] = list(ARGUMENTS.get(name, []))
    with part._engine.connect() as connection, statements(part._engine) as sent:
        if "conn" in inspect.signature(getattr(cls, name)).parameters:
            arguments.insert(0, connection)
        assert getattr(part, name)(*arguments) is True
        first = list(sent)
        assert getattr(part, name)(*arguments) is True
    assert first
    assert sent == first


@pytest.mark.usefixtures("empty_caches")
def test_a_check_that_was_false_is_made_again(storage: PooledPostgresStorage) -> None:
    log: Any = storage.event_log_storage
    with statements(log._engine) as sent:
        assert not log.has_table("no_such_table")
        once = len(sent)
        assert not log.has_table("no_such_table")
    assert len(sent) == 2 * once > 0


@pytest.mark.usefixtures("empty_caches")
def test_reading_runs_and_sensors_twice_checks_the_schema_once(storage: PooledPostgresStorage) -> None:
    def catalog_queries() -> int:
        found = 0
        parts: tuple[Any, ...] = (storage.run_storage, storage.schedule_storage)
        for part in parts:
            with statements(part._engine) as sent:
                if part is storage.run_storage:
                    part.get_run_records(limit=1)
                else:
                    part.all_instigator_state()
            found += sum("pg_catalog" in statement for statement in sent)
        return found

    assert catalog_queries() > 0
    assert catalog_queries() == 0


@pytest.mark.parametrize("name", PARTS)
def test_each_part_sends_its_statements_through_its_own_pool(storage: PooledPostgresStorage, name: str) -> None:
    part = getattr(storage, name)
    pool = part._engine.pool
    assert type(pool) is QueuePool
    assert pool.size() == dagster_storage.POOL_SIZE
    with statements(part._engine) as sent:
        if name == "run_storage":
            part.get_runs_count()
        elif name == "event_log_storage":
            part.get_logs_for_run("no such run")
        else:
            part.all_instigator_state()
    assert sent
    assert pool.checkedin() == 1


def test_the_event_log_of_the_storage_is_the_buffered_one(storage: PooledPostgresStorage) -> None:
    assert isinstance(storage.event_log_storage, BufferedEventLogStorage)
