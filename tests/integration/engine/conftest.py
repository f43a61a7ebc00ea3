"""The engine as its workers meet it: a database of its own, a Dagster instance in a temporary home, workers."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from psycopg import sql

from resources import migrations
from resources.database import DATABASE, Database
from resources.postgres_pool import PooledDatabase
from sisu_pipeline.settings import load_settings, settings
from sisu_pipeline.supervisor.stack_setup import make_engine_schemas, stack_variables
from sisu_pipeline.worker import segment_runner
from sisu_pipeline.workflow.dependencies import Dependencies, dependencies
from tests.integration.engine.intents import Stage
from tests.integration.engine.workers import Nursery, Worker, wait_for_workers

# What migrations write stays; so does what DBOS and Dagster note about their own schemas.
_KEPT = {
    "app.policies",
    "app.recipes",
    "app.run_transitions",
    "app.schema_migrations",
    "dbos.dbos_migrations",
    "dbos.queues",
    "dbos.application_versions",
}

_SETTINGS = {
    "SBX_MODE": "mock",
    "INTENT_QUEUE_CONCURRENCY": "0",
    "INTENT_QUEUE_RATE_LIMIT_PER_PERIOD": "0",
    "SBX_QUEUE_CONCURRENCY": "0",
    "SBX_QUEUE_WORKER_CONCURRENCY": "200",
    "SBX_QUEUE_RATE_LIMIT_PER_PERIOD": "0",
    # A process that sends nothing while it tests itself.
    "DAGSTER_DISABLE_TELEMETRY": "1",
}


@dataclass(frozen=True)
class Engine:
    """A deployment without processes: its environment, database, Dagster instance and dependencies."""

    environment: dict[str, str]
    database: Database
    instance: dg.DagsterInstance
    dependencies: Dependencies


@pytest.fixture(scope="package")
def engine(database: Database) -> Iterator[Engine]:
    """Settings, dependencies and Dagster instance of this process are the engine's as long as this package runs."""
    own = Database(database.url.replace(f"/{DATABASE}?", "/engine?", 1))
    migrations.create_database(own)
    migrations.migrate(own)
    with deployed(own) as running:
        yield running


@contextmanager
def deployed(own: Database, **variables: str) -> Iterator[Engine]:
    """This process as one of a deployment on this database, with a home of its own."""
    make_engine_schemas(own)
    with (
        tempfile.TemporaryDirectory(prefix="sisu-engine-", ignore_cleanup_errors=True) as home,
        pytest.MonkeyPatch.context() as patch,
    ):
        environment = _SETTINGS | variables | home_variables(Path(home), own)
        for name, value in environment.items():
            patch.setenv(name, value)
        _forget()
        instance = segment_runner.instance()
        try:
            yield Engine(environment, PooledDatabase(own.url), instance, dependencies())
        finally:
            instance.dispose()
            _forget()


def home_variables(home: Path, own: Database) -> dict[str, str]:
    """What is a machine's own: its data folder, and the way it reaches the database."""
    (home / "dagster").mkdir(parents=True, exist_ok=True)
    return stack_variables(load_settings({"SISU_HOME": str(home)}), own)


def _forget() -> None:
    for remembered in (settings, dependencies, segment_runner.instance):
        remembered.cache_clear()


@pytest.fixture
def stage(engine: Engine) -> Stage:
    """The engine with no intents in it: every table of app and dbos empty."""
    with engine.database.connect() as connection:
        connection.execute("SET LOCAL lock_timeout = '20s'")
        connection.execute("SET LOCAL session_replication_role = replica")
        tables = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('app', 'dbos')"
        ).fetchall()
        for row in tables:
            if f"{row['schemaname']}.{row['tablename']}" not in _KEPT:
                connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(*row.values())))
    return Stage(engine.dependencies, engine.instance)


@pytest.fixture(scope="package")
def nursery(engine: Engine) -> Iterator[Nursery]:
    """A process that has imported everything and forks workers: each is there at once."""
    with Nursery(engine.environment) as running:
        yield running


@pytest.fixture(scope="package")
def sandbox_worker(engine: Engine, nursery: Nursery) -> Iterator[Worker]:
    """A sandbox worker of version v1, for whoever needs tasks done."""
    with nursery.worker("sbxQ") as worker:
        wait_for_workers(engine.database, "sbxQ")
        yield worker
