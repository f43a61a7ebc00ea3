"""recovery_sensor: work that a dead worker held goes back to its queue, for any live worker to resume."""

import time

import dagster as dg

from sisu_pipeline import liveness
from sisu_pipeline.services import services

TICK_SECONDS = 20.0
LOOK_EVERY_SECONDS = 1.0


@dg.sensor(
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    jobs=[],
    description="Gives the segments and tasks of dead workers back to their queues.",
)
def recovery_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Looks once a second for the length of a tick."""
    deadline = time.monotonic() + TICK_SECONDS
    recovered: list[liveness.Recovered] = []
    while not recovered and time.monotonic() < deadline:
        recovered = liveness.recover(services().database)
        if not recovered:
            time.sleep(LOOK_EVERY_SECONDS)
    for work in recovered:
        context.log.info(f"{work.queue_name}: {work.workflow_id} given back; its worker {work.executor_id} is gone")
    return dg.SkipReason(f"{len(recovered)} workflow(s) given back." if recovered else "Every worker is alive.")
