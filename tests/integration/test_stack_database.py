"""Whose the embedded server is: a stack stops the one that it, or a killed stack before it, has started."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sisu_pipeline import database_server as server
from sisu_pipeline.settings import Settings, load_settings
from sisu_pipeline.supervisor.stack import Stack


@pytest.fixture
def home() -> Iterator[Settings]:
    """A data folder of this test's own, with no server running at the end."""
    with tempfile.TemporaryDirectory(prefix="sisu-", ignore_cleanup_errors=True) as folder:
        settings = load_settings({"SISU_HOME": folder})
        yield settings
        server.down(settings)


def a_stack(settings: Settings) -> Stack:
    return Stack(settings, intent_workers=1, report=lambda line: None)


def test_a_server_that_an_operator_started_is_left_running(home: Settings) -> None:
    assert a_stack(home)._takes_database(), "nothing runs: what this stack starts is its own"
    server.up(home)
    assert not a_stack(home)._takes_database()


def test_a_killed_stacks_server_is_the_next_ones(home: Settings) -> None:
    killed = a_stack(home)
    killed._stops_database = True
    server.up(home)
    killed._note_database()
    assert a_stack(home)._takes_database()
    server.down(home)
    server.up(home)
    assert not a_stack(home)._takes_database(), "an operator has started another one since"


def test_a_server_that_died_is_started_again_whoever_started_it(home: Settings) -> None:
    server.up(home)
    stack = a_stack(home)
    server.down(home)
    stack._revive_database(1.0)
    assert server.is_running(home)
    assert stack.restarts == {"database": 1}
    assert not (Path(home.home) / "stack.database").exists(), "it is still the operator's"
