"""A database with Dagster's and DBOS's own tables, for the tests that watch their statements."""

from collections.abc import Iterator
from typing import Any

import pytest

from resources import migrations
from resources.database import DATABASE, Database
from sisu_pipeline.engine.dagster_storage import PooledPostgresStorage
from sisu_pipeline.supervisor.stack_setup import make_engine_schemas


@pytest.fixture(scope="package")
def engines(database: Database) -> Database:
    """A migrated database of this package."""
    own = Database(database.url.replace(f"/{DATABASE}?", "/canary?", 1))
    migrations.create_database(own)
    migrations.migrate(own)
    make_engine_schemas(own)
    return own


@pytest.fixture
def storage(engines: Database) -> Iterator[PooledPostgresStorage]:
    """Dagster's storage as `dagster.yaml` configures it."""
    opened = PooledPostgresStorage(engines.dagster_url, should_autocreate_tables=False)
    yield opened
    parts: tuple[Any, ...] = (opened.run_storage, opened.event_log_storage, opened.schedule_storage)
    for part in parts:
        part._engine.dispose()
