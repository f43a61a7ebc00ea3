"""Dagster's daemon with a shorter pause between the ticks of sensors that listen.

The stock daemon starts a sensor's next tick up to five seconds after the last one ended
(`MIN_INTERVAL_LOOP_TIME`, no setting), and never within a second of its start. Our sensors hold their ticks on
LISTEN, so a short pause costs little and a burst of intents does not wait. Everything works on
`dagster-daemon run` too, some seconds slower.
"""

import dagster._daemon.sensor as sensor_daemon
from dagster._core.remote_representation.external import RemoteSensor
from dagster._core.scheduler.instigation import InstigatorState
from dagster._daemon.cli import cli

from sisu_pipeline.settings import settings

LOOP_PAUSE_S = 0.1
# A sensor that asks for the shortest interval Dagster has, a second, means: as soon as there is something.
_SHORTEST_INTERVAL_S = 1

_is_under_min_interval = sensor_daemon.is_under_min_interval


def is_under_min_interval(
    state: InstigatorState, remote_sensor: RemoteSensor, minimum_allowed_min_interval: int | None = None
) -> bool:
    """Dagster's own rule, but for sensors that listen: theirs is the loop's pause."""
    if not settings().code_socket.exists():
        # Its server is being started again: to ask all the same would only take the CPU it needs for that.
        return True
    if remote_sensor.min_interval_seconds != _SHORTEST_INTERVAL_S:
        return bool(_is_under_min_interval(state, remote_sensor, minimum_allowed_min_interval))
    elapsed = sensor_daemon.get_elapsed(state)
    return elapsed is not None and elapsed < LOOP_PAUSE_S


if __name__ == "__main__":
    sensor_daemon.MIN_INTERVAL_LOOP_TIME = LOOP_PAUSE_S  # type: ignore[assignment]
    sensor_daemon.is_under_min_interval = is_under_min_interval
    cli(["run", "--workspace", "workspace.yaml"], obj={})
