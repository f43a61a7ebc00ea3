"""intent_sensor: requests one Dagster run for each queued run in `app.runs`."""

import dagster as dg

from resources.notifications import wait_for_rows
from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.defs.asset_keys import INTENT_JOB
from sisu_pipeline.defs.intent_partitions import INTENTS
from sisu_pipeline.engine.sensor_instance import share_instance
from sisu_pipeline.store.queues import outbox
from sisu_pipeline.workflow.dependencies import dependencies

LISTEN_SECONDS = 20.0
BATCH = 25


@dg.sensor(
    job_name=INTENT_JOB,
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Waits for queued runs and requests one Dagster run for each of them.",
)
def intent_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Listen for the length of a tick, so that a run is requested as soon as its row is committed."""
    share_instance(context)
    database, limit = dependencies().database, dependencies().start_limit
    queued = wait_for_rows(
        database, "sisu_queued", lambda connection: outbox.unrequested(connection, BATCH, limit), LISTEN_SECONDS
    )
    if not queued:
        return dg.SkipReason("No run is queued, or a limit holds those that are.")
    workflow_ids = [run.workflow_id for run in queued]
    crash_point("intent_sensor.request.before")
    with database.connect() as connection:
        outbox.mark_started(connection, workflow_ids)
    crash_point("intent_sensor.request.after")
    requests = [
        dg.RunRequest(
            partition_key=run.workflow_id,
            run_key=f"{run.workflow_id}#{run.retry_count}",
            tags={"sisu/run_id": run.id, "sisu/recipe": run.recipe_id, "sisu/lane": run.lane},
        )
        for run in queued
    ]
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[INTENTS.build_add_request(workflow_ids)],
    )
