"""intent_sensor: a queued run in `app.runs` becomes one Dagster run of its partition."""

import dagster as dg

from resources.notifications import wait_for_rows
from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.defs.assets import INTENTS
from sisu_pipeline.store.queues import outbox
from sisu_pipeline.workflow.dependencies import dependencies

LISTEN_SECONDS = 20.0
BATCH = 25


@dg.sensor(
    job_name="intent_workflow",
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Waits for queued runs and requests one Dagster run for each.",
)
def intent_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Holds its tick on LISTEN, so that a run is requested the moment its row is committed."""
    database = dependencies().database
    rows = wait_for_rows(
        database, "sisu_queued", lambda connection: outbox.unrequested(connection, BATCH), LISTEN_SECONDS
    )
    if not rows:
        return dg.SkipReason("No run is waiting to be started.")
    workflow_ids = [row["workflow_id"] for row in rows]
    crash_point("intent_sensor.request.before")
    with database.connect() as connection:
        outbox.mark_requested(connection, workflow_ids)
    crash_point("intent_sensor.request.after")
    requests = [
        dg.RunRequest(
            partition_key=row["workflow_id"],
            run_key=f"{row['workflow_id']}#{row['retry_count']}",
            tags={"sisu/run_id": row["id"], "sisu/recipe": row["recipe_id"], "sisu/lane": row["lane"]},
        )
        for row in rows
    ]
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[INTENTS.build_add_request(workflow_ids)],
    )
