"""closing_sensor: cleans up after cancellations, which leave patches, queued tasks and an open Dagster run."""

import time
from functools import partial

import dagster as dg

from resources.database import Connection
from resources.notifications import wait_for_rows
from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.engine.run_reports import report_canceled
from sisu_pipeline.engine.sensor_instance import share_instance
from sisu_pipeline.recovery import cancel_cleanup
from sisu_pipeline.store.queues import outbox
from sisu_pipeline.store.queues.outbox import CanceledRun
from sisu_pipeline.workflow.dependencies import dependencies

TICK_SECONDS = 20.0
# How long to wait for the segment of a canceled run that still holds its lock.
RETRY_SECONDS = 0.25


@dg.sensor(
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    jobs=[],
    description="Rolls back the patches of canceled runs, drops their queued work and ends their Dagster runs.",
)
def closing_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Listen for the length of a tick, so that a canceled run is cleaned up as soon as its segment ends."""
    share_instance(context)
    deadline = time.monotonic() + TICK_SECONDS
    cleaned_up = 0
    while (left := deadline - time.monotonic()) > 0:
        if not wait_for_rows(dependencies().database, "sisu_canceled", _canceled, left):
            break
        done = cancel_cleanup.clean_up_canceled(dependencies(), partial(report_canceled, context.instance))
        for run in done:
            context.log.info(
                f"{run.run_id}: rolled back {run.patches} patch(es), dropped {run.dropped} queued workflow(s)"
            )
        crash_point("closing.close.after")
        cleaned_up += len(done)
        if not done:
            time.sleep(RETRY_SECONDS)
    return dg.SkipReason(f"Cleaned up {cleaned_up} canceled run(s)." if cleaned_up else "No run was canceled.")


def _canceled(connection: Connection) -> list[CanceledRun]:
    return outbox.to_clean_up(connection, 1)
