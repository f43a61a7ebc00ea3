"""push_sensor: pushes the branches of succeeded runs. A slow remote delays neither the tick nor other remotes."""

import time

import dagster as dg

from sisu_pipeline.workflow import run_push
from sisu_pipeline.workflow.dependencies import dependencies

TICK_SECONDS = 20.0
CHECK_INTERVAL_SECONDS = 1.0
_in_progress = run_push.PushesInProgress()
"""Git may wait for a remote longer than a tick may take, so pushes go on between ticks."""


@dg.sensor(
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    jobs=[],
    description="Pushes the branches of succeeded runs whose recipes name a remote.",
)
def push_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Check once a second for the length of a tick."""
    until = time.monotonic() + TICK_SECONDS
    while time.monotonic() < until:
        _in_progress.start_due(dependencies())
        time.sleep(CHECK_INTERVAL_SECONDS)
    remotes = _in_progress.remotes
    return dg.SkipReason(f"Pushing to {', '.join(remotes)}." if remotes else "No push is due.")
