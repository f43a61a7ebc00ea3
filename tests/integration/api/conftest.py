"""The API as a client meets it: uvicorn on a free loopback port, over the session's Postgres."""

import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from psycopg import sql

from resources.database import Connection, Database
from resources.planner.replay_planner import ReplayPlanner
from sisu_pipeline.api.app import create_app
from sisu_pipeline.api.server import Server
from sisu_pipeline.api.state.app_state import AppState
from sisu_pipeline.settings import load_settings
from sisu_pipeline.steps.execute import TaskDefaults
from sisu_pipeline.store.outputs.artifacts import BlobStore
from sisu_pipeline.workflow.dependencies import Dependencies

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Live:
    """A running API."""

    url: str
    port: int
    state: AppState
    dependencies: Dependencies


@dataclass(frozen=True)
class Api(Live):
    """A running API over an empty database, and a client of it."""

    client: httpx.Client

    def post(self, path: str, body: object) -> httpx.Response:
        """POST a JSON body."""
        return self.client.post(path, json=body)

    def get(self, path: str) -> httpx.Response:
        """GET a path."""
        return self.client.get(path)


def dependencies_over(database: Database, folder: Path) -> Dependencies:
    """Dependencies whose files lie in `folder`."""
    return Dependencies(
        database=database,
        planner=ReplayPlanner(folder / "oc"),
        blobs=BlobStore(str(folder / "blobs")),
        workspaces=folder / "workspaces",
        task_defaults=TaskDefaults(timeout_ms=300_000, net=False),
        app_version="v1",
        queues_tasks=True,
    )


@contextmanager
def serving(
    dependencies: Dependencies, *, heartbeat_s: float = 15.0, environment: Mapping[str, str] | None = None
) -> Iterator[Live]:
    """Run the API in a thread. The socket listens before it starts, so that no client has to wait for it."""
    listener = socket.create_server((HOST, 0))
    port = listener.getsockname()[1]
    variables = {} if environment is None else {"PORT": str(port), **environment}
    app = create_app(dependencies, settings=load_settings(variables), heartbeat_s=heartbeat_s)
    server = Server(app, HOST, port)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield Live(f"http://{HOST}:{port}", port, app.state.shared, dependencies)
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        listener.close()
        assert not thread.is_alive(), "the server did not stop"


@pytest.fixture(scope="session")
def live(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The session's API."""
    with serving(dependencies_over(database, tmp_path_factory.mktemp("api"))) as running:
        yield running


@pytest.fixture
def api(live: Live, clean_database: Database) -> Iterator[Api]:
    """The session's API over an empty database."""
    with httpx.Client(base_url=live.url, timeout=30) as client:
        yield Api(live.url, live.port, live.state, live.dependencies, client)


@pytest.fixture
def contents(clean_database: Database) -> Callable[[], dict[str, str]]:
    """A function that fingerprints every table of schema app: row count and a hash of all rows."""

    def fingerprint() -> dict[str, str]:
        with clean_database.connect() as connection:
            names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'app'").fetchall()
            return {row["tablename"]: _fingerprint(connection, row["tablename"]) for row in names}

    return fingerprint


def _fingerprint(connection: Connection, table: str) -> str:
    statement = sql.SQL("SELECT t::text AS line FROM {} t ORDER BY 1").format(sql.Identifier("app", table))
    lines = [row["line"] for row in connection.execute(statement)]
    return f"{len(lines)} rows, {hashlib.sha256(chr(10).join(lines).encode()).hexdigest()}"


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    """A function that waits for a condition, and fails when it does not come true in 20 s."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true"
            time.sleep(0.02)

    return wait
