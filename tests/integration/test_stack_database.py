"""A stack stops the embedded server that it, or a killed stack before it, has started, and no other."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from resources.database import Database
from sisu_pipeline import database_server as server
from sisu_pipeline.settings import Settings, load_settings
from sisu_pipeline.supervisor.stack import Stack


@pytest.fixture
def home() -> Iterator[Settings]:
    """A data folder of this test only; its server is stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="sisu-", ignore_cleanup_errors=True) as folder:
        settings = load_settings({"SISU_HOME": folder})
        yield settings
        server.down(settings)


def a_stack(settings: Settings) -> Stack:
    return Stack(settings, intent_workers=1, report=lambda line: None)


def test_a_server_that_an_operator_started_is_left_running(home: Settings) -> None:
    assert a_stack(home)._owns_database(), "no server runs: the stack starts its own"
    server.up(home)
    assert not a_stack(home)._owns_database()


def test_the_next_stack_stops_the_server_of_a_killed_one(home: Settings) -> None:
    killed = a_stack(home)
    killed._stops_database = True
    server.up(home)
    killed._record_database()
    assert a_stack(home)._owns_database()
    server.down(home)
    server.up(home)
    assert not a_stack(home)._owns_database(), "an operator has started another one since"


def test_a_server_that_ended_is_restarted_also_when_an_operator_started_it(home: Settings) -> None:
    server.up(home)
    stack = a_stack(home)
    server.down(home)
    stack._restart_database(1.0)
    assert server.is_running(home)
    assert stack.restarts == {"database": 1}
    assert not (Path(home.home) / "stack.database").exists(), "it is still the operator's"


@pytest.mark.parametrize("owner", ["this process", "another server"])
def test_a_pid_file_with_the_id_of_another_process_blocks_no_start(
    home: Settings, database: Database, owner: str
) -> None:
    server.up(home)
    pid_file = Path(home.home) / "postgres" / "postmaster.pid"
    left = pid_file.read_text()
    own = server.server_pid(home)
    server.down(home)
    with database.connect() as connection:
        row = connection.execute("SELECT pg_backend_pid() AS backend").fetchone()
        assert row is not None
        other = os.getpid() if owner == "this process" else psutil.Process(row["backend"]).ppid()
        pid_file.write_text(left.replace(str(own), str(other), 1))
        assert not server.is_running(home)
        server.up(home)
    assert server.server_pid(home) not in (None, other)
