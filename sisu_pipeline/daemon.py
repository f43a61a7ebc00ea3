"""Dagster's daemon with a shorter pause between sensor loops.

The stock daemon starts a sensor's next tick up to five seconds after the last one ended, and has no setting
for that (`MIN_INTERVAL_LOOP_TIME`). Our sensors hold their ticks on LISTEN, so a short pause costs little
and a burst of intents does not wait. Everything works on `dagster-daemon run` too, some seconds slower.
"""

import dagster._daemon.sensor as sensor_daemon
from dagster._daemon.cli import cli

LOOP_PAUSE_S = 0.1

if __name__ == "__main__":
    sensor_daemon.MIN_INTERVAL_LOOP_TIME = LOOP_PAUSE_S  # type: ignore[assignment]
    cli(["run", "--workspace", "workspace.yaml"], obj={})
