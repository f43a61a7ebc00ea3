"""approval_sensor: continues runs after a decision in `app.plan_approvals`, an answer, or a request for changes."""

import time

import dagster as dg

from resources.notifications import listening, wait_for_rows
from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.defs import asset_metadata
from sisu_pipeline.defs.asset_keys import DECISION, EXECUTION, INTENT_JOB, PATCHED_PLAN, PLAN_APPROVAL
from sisu_pipeline.engine.sensor_instance import share_instance
from sisu_pipeline.queueing import question_queue, segment_queue
from sisu_pipeline.settings import settings
from sisu_pipeline.store.queues import outbox
from sisu_pipeline.store.queues.outbox import DecidedRun
from sisu_pipeline.store.rules.decisions import RecordedDecision
from sisu_pipeline.workflow.dependencies import dependencies
from sisu_pipeline.workflow.run_failure import ending_permanently

LISTEN_SECONDS = 20.0
BATCH = 50
# The assets behind the gate that a run waits at, by its next action.
_BEHIND = {"ANSWER": [PATCHED_PLAN, DECISION, EXECUTION], "APPROVE_PLAN": [DECISION, EXECUTION]}


@dg.sensor(
    job_name=INTENT_JOB,
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Waits for decisions, enqueues the next segment or question of each run, reports plan_approval.",
)
def approval_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Listen for decisions during the tick. In the portable profile, request another Dagster run for each."""
    share_instance(context)
    if settings().sisu_profile == "stock":
        return _request_second_runs()
    return _resume_until(context.instance, time.monotonic() + LISTEN_SECONDS)


def _resume_until(instance: dg.DagsterInstance, deadline: float) -> dg.SkipReason:
    """Act on decisions as they arrive, for the length of a tick.

    One query finds those that arrived while no tick listened. Each later notification names its run, so its cost
    does not depend on how many runs wait.
    """
    resumed = 0
    with listening(dependencies().database, "sisu_decided") as listener:
        question_queue.enqueue_rounds(dependencies().database)
        # At least one query, however long it took to start listening.
        while rows := outbox.decided(listener.session, BATCH):
            resumed += _act_on(instance, rows)
            if time.monotonic() > deadline:
                break
        named: set[str] = set()
        while (left := deadline - time.monotonic()) > 0:
            arrived = listener.wait(0 if named else left)
            if arrived:
                question_queue.enqueue_rounds(dependencies().database, sorted(arrived))
            named |= arrived
            # A part of many decisions at a time, so that one that arrives meanwhile does not wait for all of them.
            rows = outbox.decided_on(listener.session, named, BATCH) if named else []
            resumed += _act_on(instance, rows)
            if len(rows) < BATCH:
                named.clear()
    return dg.SkipReason(f"{resumed} run(s) continued after a decision." if resumed else "No decision arrived.")


def _act_on(instance: dg.DagsterInstance, rows: list[DecidedRun]) -> int:
    """Enqueue the next segments and report the decisions to Dagster; return how many runs continue."""
    waiting = [row for row in rows if row.waits]
    for row in waiting:
        crash_point("approval_sensor.enqueue.before")
        with ending_permanently(dependencies(), row.id, f"enqueue segment {row.segment}"):
            segment_queue.enqueue(dependencies().database, segment_queue.of_decided(row))
        crash_point("approval_sensor.enqueue.after")
    _mark_requested(waiting)
    unreported = [row for row in rows if row.unreported]
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
        return dg.SkipReason("No decision arrived.")
    waiting = [row for row in rows if row.waits]
    unreported = [row for row in rows if row.unreported]
    _mark_requested(waiting)
    _mark_reported(unreported)
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                partition_key=row.workflow_id,
                run_key=f"{row.workflow_id}/{row.segment}",
                asset_selection=_BEHIND[row.next_action or ""],
                asset_check_keys=[],
                tags={"sisu/run_id": row.id},
            )
            for row in waiting
        ],
        asset_events=[_approval(row) for row in unreported],
    )


def _mark_requested(rows: list[DecidedRun]) -> None:
    with dependencies().database.connect() as connection:
        outbox.mark_requested(connection, [row.workflow_id for row in rows])


def _mark_reported(rows: list[DecidedRun]) -> None:
    with dependencies().database.connect() as connection:
        outbox.mark_reported(connection, [row.id for row in rows])


def _approval(run: DecidedRun) -> dg.AssetMaterialization:
    assert run.decision is not None and run.decided_by is not None and run.decided_at is not None
    decision = RecordedDecision(run.id, run.decision, run.decided_by, run.decided_at, run.notes, run.plan_sha256)
    return dg.AssetMaterialization(
        PLAN_APPROVAL, partition=run.workflow_id, metadata=asset_metadata.of_decision(decision)
    )
