"""The daemon's patch: Dagster's loop takes both patched names, and a one-second sensor ticks without its pauses."""

import inspect
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import click
import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.remote_representation.external import RemoteSensor
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, SensorInstigatorData
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon import sensor as sensor_loop
from dagster._daemon.cli import cli

from sisu_pipeline.engine import sensor_daemon
from sisu_pipeline.settings import PROJECT_ROOT
from tests.canary import ticking_sensor

STOCK_PAUSE_S = 5


class Pauses(threading.Event):
    """The loop's event to stop: it records each pause and cuts a long one short."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.seconds.append(timeout)
        return super().wait(min(timeout, 0.1))


@pytest.fixture
def socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The code server's socket, which exists."""
    path = tmp_path / "code.sock"
    path.touch()
    monkeypatch.setattr(sensor_daemon, "settings", lambda: SimpleNamespace(code_socket=path))
    return path


@pytest.fixture
def patched(socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster's loop as our daemon patches it, for this test."""
    for name in ("MIN_INTERVAL_LOOP_TIME", "is_under_min_interval"):
        monkeypatch.setattr(sensor_loop, name, getattr(sensor_loop, name))
    sensor_daemon.shorten_pauses()


@pytest.fixture
def workspace() -> Iterator[WorkspaceProcessContext]:
    """A new instance and the code location of the ticking sensor, in this process."""
    target = LoadableTargetOrigin(module_name=ticking_sensor.__name__, working_directory=str(PROJECT_ROOT))
    ticking_sensor.ticks = 0
    with (
        dg.instance_for_test() as instance,
        WorkspaceProcessContext(
            instance, InProcessWorkspaceLoadTarget(InProcessCodeLocationOrigin(target))
        ) as context,
    ):
        yield context


def run_loop(workspace: WorkspaceProcessContext, seconds: float) -> list[float]:
    """Run Dagster's sensor loop for some seconds; returns its pauses."""
    pauses = Pauses()
    loop = sensor_loop.execute_sensor_iteration_loop(
        workspace, logging.getLogger("canary"), pauses, until=time.time() + seconds
    )
    for _ in loop:
        pass
    return pauses.seconds


def state_of(last_start: float | None) -> InstigatorState:
    data = SensorInstigatorData(min_interval=1, last_tick_start_timestamp=last_start)
    location = InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name=ticking_sensor.__name__))
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), "ticking_sensor")
    return InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING, data)


def sensor_of(interval: int) -> RemoteSensor:
    return SimpleNamespace(min_interval_seconds=interval)  # type: ignore[return-value]


def test_the_stock_loop_pauses_five_seconds_after_each_tick(
    workspace: WorkspaceProcessContext,
) -> None:
    pauses = run_loop(workspace, 0.8)
    assert sensor_loop.MIN_INTERVAL_LOOP_TIME == STOCK_PAUSE_S
    assert max(pauses) > STOCK_PAUSE_S - 1
    assert ticking_sensor.ticks == 1


@pytest.mark.usefixtures("patched")
def test_the_patched_loop_pauses_a_tenth_of_a_second_and_ticks_several_times_a_second(
    workspace: WorkspaceProcessContext,
) -> None:
    pauses = run_loop(workspace, 3)
    assert max(pauses) <= sensor_daemon.LOOP_PAUSE_S
    assert ticking_sensor.ticks > 5


@pytest.mark.parametrize("function", ["execute_sensor_iteration_loop", "execute_sensor_iteration", "_process_tick"])
def test_the_loop_and_its_parts_are_functions_of_the_patched_module(function: str) -> None:
    assert inspect.getmodule(getattr(sensor_loop, function)) is sensor_loop


def test_the_loop_reads_the_pause_and_the_rule_from_its_module_each_time() -> None:
    assert "MIN_INTERVAL_LOOP_TIME" in sensor_loop.execute_sensor_iteration_loop.__code__.co_names
    for function in (sensor_loop.execute_sensor_iteration, sensor_loop._process_tick_generator):
        assert "is_under_min_interval" in inspect.unwrap(function).__code__.co_names


@pytest.mark.usefixtures("socket")
@pytest.mark.parametrize(
    ("interval", "seconds_ago", "early"),
    [
        *[(1, None, False), (1, 0.05, True), (1, 0.2, False), (30, None, False), (30, 20, True), (30, 31, False)],
        # The clock was set back after the last tick.
        *[(1, -10_800, False), (30, -10_800, False)],
    ],
)
def test_a_sensor_of_one_second_waits_for_the_loops_pause_and_any_other_for_its_own_interval(
    interval: int, seconds_ago: float | None, early: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_800_000_000.0
    monkeypatch.setattr(sensor_loop, "get_current_timestamp", lambda: now)
    state = state_of(None if seconds_ago is None else now - seconds_ago)
    assert sensor_daemon.is_under_min_interval(state, sensor_of(interval)) is early


def test_no_sensor_ticks_while_the_code_server_has_no_socket(socket: Path) -> None:
    socket.unlink()
    assert sensor_daemon.is_under_min_interval(state_of(None), sensor_of(1))
    assert sensor_daemon.is_under_min_interval(state_of(None), sensor_of(30))


def test_the_daemons_command_line_runs_a_workspace_file() -> None:
    assert isinstance(cli, click.Group)
    options = {name for parameter in cli.commands["run"].params for name in parameter.opts}
    assert "--workspace" in options
