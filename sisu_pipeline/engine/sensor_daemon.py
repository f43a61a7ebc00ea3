"""Dagster's daemon with a shorter pause between the ticks of sensors that wait on LISTEN.

The stock daemon starts a sensor's next tick up to five seconds after the last one ended
(`MIN_INTERVAL_LOOP_TIME`, not configurable), and never within a second of its start. Our sensors wait on LISTEN
during their ticks, so a short pause costs little and a burst of intents is not delayed. Everything works on
`dagster-daemon run` too, some seconds slower.
"""

import os
import socket

import dagster._daemon.sensor as sensor_loop
from dagster._core.remote_representation.external import RemoteSensor
from dagster._core.scheduler.instigation import InstigatorState
from dagster._daemon.cli import cli

from resources import clock_watch, writer_connections
from resources.migrations import exit_if_newer
from sisu_pipeline.domain import worker_names
from sisu_pipeline.settings import name_connections, settings
from sisu_pipeline.workflow.dependencies import dependencies

LOOP_PAUSE_S = 0.1
# Dagster's shortest interval, one second, marks a sensor that ticks again as soon as it can.
_SHORTEST_INTERVAL_S = 1

_is_under_min_interval = sensor_loop.is_under_min_interval


def main() -> None:
    """Run the daemon for the workspace of the current directory."""
    name_connections(worker_names.daemon_name(socket.gethostname(), os.getpid()))
    exit_if_newer(dependencies().database, "daemon")
    shorten_pauses()
    writer_connections.remember_in(settings().home)
    clock_watch.end_when_set_back("daemon")
    cli(["run", "--workspace", "workspace.yaml"], obj={})


def shorten_pauses() -> None:
    """Patch Dagster's sensor loop, which reads both names from its module at every iteration."""
    sensor_loop.MIN_INTERVAL_LOOP_TIME = LOOP_PAUSE_S  # type: ignore[assignment]
    sensor_loop.is_under_min_interval = is_under_min_interval


def is_under_min_interval(
    state: InstigatorState, remote_sensor: RemoteSensor, minimum_allowed_min_interval: int | None = None
) -> bool:
    """Whether it is too early for a sensor's next tick: Dagster's rule, except for intervals of one second."""
    if not settings().code_socket.exists():
        # The code server is starting: a tick would fail, and take CPU that the start needs.
        return True
    elapsed = sensor_loop.get_elapsed(state)
    if elapsed is not None and elapsed < 0:
        # The clock was set back after the last tick. Dagster would wait until it reaches that time again.
        return False
    if remote_sensor.min_interval_seconds != _SHORTEST_INTERVAL_S:
        return bool(_is_under_min_interval(state, remote_sensor, minimum_allowed_min_interval))
    return elapsed is not None and elapsed < LOOP_PAUSE_S


if __name__ == "__main__":
    main()
