"""approval_sensor: a decision in `app.plan_approvals`, or an answer, lets the run it was made for go on."""

import time

import dagster as dg

from resources.database import Row
from resources.notifications import listening, wait_for_rows
from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.defs import asset_metadata
from sisu_pipeline.defs.assets import DECISION, EXECUTION, PATCHED_PLAN, PLAN_APPROVAL
from sisu_pipeline.queueing import segment_queue
from sisu_pipeline.settings import settings
from sisu_pipeline.store import gates, outbox
from sisu_pipeline.workflow.dependencies import dependencies

LISTEN_SECONDS = 20.0
BATCH = 50
# What is left to do behind the gate a run waited at.
_BEHIND = {"ANSWER": [PATCHED_PLAN, DECISION, EXECUTION], "APPROVE_PLAN": [DECISION, EXECUTION]}


@dg.sensor(
    job_name="intent_workflow",
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Waits for decisions, asks for the next segment of each run, and reports plan_approval.",
)
def approval_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Holds its tick on LISTEN; in the portable profile it requests the second run instead of a segment."""
    if settings().sisu_profile == "stock":
        return _request_second_runs()
    return _resume_until(context.instance, time.monotonic() + LISTEN_SECONDS)


def _resume_until(instance: dg.DagsterInstance, deadline: float) -> dg.SkipReason:
    """Serve decisions as they come for the length of a tick: none waits for the next one.

    Looks once for those that came while nobody listened. Each one after that names its run, so that its cost
    does not depend on how many others wait.
    """
    resumed = 0
    with listening(dependencies().database, "sisu_decided") as listener:
        # At least once, however long it took to listen.
        while rows := outbox.decided(listener.session, BATCH):
            resumed += _act_on(instance, rows)
            if time.monotonic() > deadline:
                break
        while (left := deadline - time.monotonic()) > 0:
            if named := listener.wait(left):
                resumed += _act_on(instance, outbox.decided_on(listener.session, sorted(named)))
    return dg.SkipReason(f"{resumed} run(s) went on after a decision." if resumed else "No decision came.")


def _act_on(instance: dg.DagsterInstance, rows: list[Row]) -> int:
    """Ask for the next segments, tell lineage; returns how many runs go on."""
    waiting = [row for row in rows if row["waits"]]
    for row in waiting:
        crash_point("approval_sensor.enqueue.before")
        segment_queue.enqueue(dependencies().database, segment_queue.of_decided(row))
        crash_point("approval_sensor.enqueue.after")
    _mark_requested(waiting)
    unreported = [row for row in rows if row["unreported"]]
    for row in unreported:
        instance.report_runless_asset_event(_approval(row))
    _mark_reported(unreported)
    return len(waiting)


def _request_second_runs() -> dg.SensorResult | dg.SkipReason:
    rows = wait_for_rows(
        dependencies().database,
        "sisu_decided",
        lambda connection: outbox.decided(connection, BATCH),
        LISTEN_SECONDS,
    )
    if not rows:
        return dg.SkipReason("No decision came.")
    waiting = [row for row in rows if row["waits"]]
    unreported = [row for row in rows if row["unreported"]]
    _mark_requested(waiting)
    _mark_reported(unreported)
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                partition_key=row["workflow_id"],
                run_key=f"{row['workflow_id']}/{row['segment']}",
                asset_selection=_BEHIND[row["next_action"]],
                asset_check_keys=[],
                tags={"sisu/run_id": row["id"]},
            )
            for row in waiting
        ],
        asset_events=[_approval(row) for row in unreported],
    )


def _mark_requested(rows: list[Row]) -> None:
    with dependencies().database.connect() as connection:
        outbox.mark_requested(connection, [row["workflow_id"] for row in rows])


def _mark_reported(rows: list[Row]) -> None:
    with dependencies().database.connect() as connection:
        outbox.mark_reported(connection, [row["id"] for row in rows])


def _approval(row: Row) -> dg.AssetMaterialization:
    decision = gates.from_row(row | {"run_id": row["id"]})
    return dg.AssetMaterialization(
        PLAN_APPROVAL, partition=row["workflow_id"], metadata=asset_metadata.of_decision(decision)
    )
