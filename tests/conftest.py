"""What every test stands on: one embedded Postgres per session, emptied before each test that asks for it."""

import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from psycopg import sql
from xdist.scheduler import LoadScopeScheduling

from resources.database import Database
from resources.planner.replay_planner import ReplayPlanner
from resources.postgres_pool import PooledDatabase
from sisu_pipeline import database_server as server
from sisu_pipeline.settings import Settings, load_settings
from sisu_pipeline.steps.execute import TaskDefaults
from sisu_pipeline.store.outputs.artifacts import BlobStore
from sisu_pipeline.workflow.dependencies import Dependencies

# What a migration writes stays; everything else of schema app is a test's own.
_SEEDED = ["policies", "recipes", "run_transitions", "schema_migrations"]
_APPLIED = (
    "DELETE FROM app.policies WHERE channel <> 'migration'",
    "DELETE FROM app.recipes WHERE channel <> 'migration'",
)

_FASTER = ("ALTER SYSTEM SET fsync = off", "ALTER SYSTEM SET synchronous_commit = off", "SELECT pg_reload_conf()")

# A busy machine is no failure: no example has a deadline.
hypothesis.settings.register_profile("sisu", deadline=None, print_blob=True)
hypothesis.settings.load_profile("sisu")


# What shares something expensive (a stack, an engine) or something of the machine's (ports, user ids) stays in
# one process when tests run in several. In this order, so that the longest do not begin last.
_GROUPS = {
    "tests/e2e/test_readme.py": "seed",
    "tests/chaos/test_cuts.py": "cuts",
    "tests/chaos/": "chaos",
    "tests/e2e/": "stack",
    # It makes network interfaces: the browser of the stack's tests drops its connections when one appears.
    "tests/integration/engine/test_two_machines.py": "stack",
    "tests/integration/engine/": "engine",
    "tests/e2e/test_odd_requests.py": "odd requests",
    "tests/integration/sandbox/": "sandbox",
    "tests/integration/planner/": "sandbox",
    "tests/unit/sandbox/": "sandbox",
}


def _group(path: str) -> str:
    """What a test file belongs to: the group of its longest prefix above, or itself."""
    prefixes = [prefix for prefix in _GROUPS if path.startswith(prefix)]
    return _GROUPS[max(prefixes, key=len)] if prefixes else path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The groups in their order, then every other file."""
    order = list(dict.fromkeys(_GROUPS.values()))

    def place(item: pytest.Item) -> tuple[int, str]:
        path = item.nodeid.partition("::")[0]
        group = _group(path)
        return (order.index(group) if group in order else len(order), path)

    items.sort(key=place)


class _GroupScheduling(LoadScopeScheduling):
    """A group is one process's as a whole. (pytest-xdist 3.8's own `loadgroup` does nothing under pytest 9.2.)"""

    def _split_scope(self, nodeid: str) -> str:
        return _group(nodeid.partition("::")[0])


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Who runs what with `-n`."""
    return _GroupScheduling(config, log)


@pytest.fixture(scope="session")
def database_settings() -> Iterator[Settings]:
    """Settings whose data folder is new and has a short path: a Unix socket's may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="sisu-", ignore_cleanup_errors=True) as folder:
        yield load_settings({"SISU_HOME": folder})


@pytest.fixture(scope="session")
def database(database_settings: Settings) -> Iterator[Database]:
    """The session's embedded Postgres, migrated. Its transactions reuse connections: a new one is a new process."""
    try:
        embedded = server.up(database_settings)
        with embedded.connect(autocommit=True) as connection:
            for statement in _FASTER:  # no test cuts the power
                connection.execute(statement)
        yield PooledDatabase(embedded.url)
    finally:
        server.down(database_settings)


@pytest.fixture
def clean_database(database: Database) -> Database:
    """The same database, every table of `app` empty except what the migrations seeded."""
    with database.connect() as connection:
        # A connection another test left open fails here by name instead of hanging.
        connection.execute("SET LOCAL lock_timeout = '20s'")
        rows = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables "
            "WHERE schemaname IN ('app', 'access') AND tablename <> ALL(%s)",
            [_SEEDED],
        ).fetchall()
        # Several times faster than TRUNCATE, which makes new files. A replica checks no foreign keys: any order.
        connection.execute("SET LOCAL session_replication_role = replica")
        for row in rows:
            connection.execute(
                sql.SQL("DELETE FROM {}").format(sql.Identifier(row["schemaname"], row["tablename"]))
            )
        for statement in _APPLIED:
            connection.execute(statement)
    return database


@pytest.fixture
def dependencies(clean_database: Database, tmp_path: Path) -> Dependencies:
    """The dependencies of a step: an empty database, the built-in planner, blobs and workspaces of this test."""
    return Dependencies(
        database=clean_database,
        planner=ReplayPlanner(tmp_path / "oc"),
        blobs=BlobStore(str(tmp_path / "blobs")),
        workspaces=tmp_path / "workspaces",
        task_defaults=TaskDefaults(timeout_ms=300_000, net=False),
        app_version="v1",
        queues_tasks=False,
    )


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A function that names a loopback port without a listener; no two calls of one test name the same."""
    given: set[int] = set()

    def find() -> int:
        while True:
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", 0))
                port: int = listener.getsockname()[1]
            if port not in given:
                given.add(port)
                return port

    return find
