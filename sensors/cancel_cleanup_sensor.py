"""closing_sensor: what a cancellation leaves — patches, queued tasks, an open Dagster run — is tied up."""

import time
from functools import partial

import dagster as dg
from dagster._core.storage.dagster_run import DagsterRunStatus

from resources.notifications import wait_for_rows
from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.recovery import cancel_cleanup
from sisu_pipeline.store.queues import outbox
from sisu_pipeline.workflow.dependencies import dependencies

TICK_SECONDS = 20.0
# A canceled run whose segment has not let go yet is looked at again after this long.
AGAIN_SECONDS = 0.25


@dg.sensor(
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    jobs=[],
    description="Takes back the patches of canceled runs, drops their queued tasks, ends their Dagster runs.",
)
def closing_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Holds its tick on LISTEN, so that a canceled run is closed as soon as its segment lets go."""
    deadline = time.monotonic() + TICK_SECONDS
    instance = context.instance
    closed = 0
    while (left := deadline - time.monotonic()) > 0:
        if not wait_for_rows(dependencies().database, "sisu_canceled", outbox.to_close, left):
            break
        done = cancel_cleanup.close_canceled(dependencies(), partial(_end, instance))
        for run in done:
            context.log.info(
                f"{run.run_id}: {run.patches} patch(es) taken back, {run.tasks} queued task(s) dropped"
            )
        crash_point("closing.close.after")
        closed += len(done)
        if not done:
            time.sleep(AGAIN_SECONDS)
    return dg.SkipReason(f"{closed} canceled run(s) closed." if closed else "Nothing was canceled.")


def _end(instance: dg.DagsterInstance, dagster_run_id: str, reason: str) -> None:
    run = instance.get_run_by_id(dagster_run_id)
    if run is not None and not run.is_finished:
        if run.status is not DagsterRunStatus.CANCELING:
            instance.report_run_canceling(run, message=reason)
        instance.report_run_canceled(run, message=reason)
