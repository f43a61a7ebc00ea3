"""recovery_sensor: work that nobody does goes back to its queue, for any live worker to resume."""

import time
from functools import partial

import dagster as dg

from sisu_pipeline.engine.failure_cause import failure_cause
from sisu_pipeline.recovery import run_recovery
from sisu_pipeline.settings import settings
from sisu_pipeline.workflow.dependencies import dependencies

TICK_SECONDS = 20.0


@dg.sensor(
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    jobs=[],
    description="Gives the work of dead and frozen workers back to its queues; asks for segments that got lost.",
)
def recovery_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Looks once a second for the length of a tick; workers look too (`sisu_pipeline/worker/worker_process.py`)."""
    deadline = time.monotonic() + TICK_SECONDS
    observer = run_recovery.Observer(dependencies().database)
    recovered: list[run_recovery.Recovered] = []
    resumed: list[str] = []
    ended: list[str] = []
    while time.monotonic() < deadline:
        recovered += observer.recover()
        if settings().sisu_profile == "warm":
            resumed += run_recovery.resume_lost(dependencies())
            ended += run_recovery.end_orphans(dependencies(), partial(failure_cause, context.instance))
        time.sleep(run_recovery.LOOK_EVERY_SECONDS)
    for work in recovered:
        context.log.info(f"{work.queue_name}: {work.workflow_id} given back; its worker {work.executor_id} is gone")
    for workflow_id in resumed:
        context.log.info(f"intentQ: {workflow_id} asked for again; its segment was lost")
    for workflow_id in ended:
        context.log.info(f"{workflow_id} ended: its Dagster run had failed")
    done = len(recovered) + len(resumed) + len(ended)
    return dg.SkipReason(f"{done} workflow(s) recovered." if done else "Every worker is alive.")
