"""After a reset of one half, the other half remembers ids, as docs/runbook.md describes."""

from sisu_pipeline.domain.status import RunStatus
from tests.integration.engine.intents import Stage


def forget(stage: Stage, *tables: str) -> None:
    with stage.dependencies.database.connect() as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        for table in tables:
            connection.execute(f"DELETE FROM {table}")


APP = ("app.run_steps", "app.human_gates", "app.artifacts", "app.runs", "app.intents")


def test_after_db_reset_alone_the_same_intents_segment_is_not_queued_again(stage: Stage) -> None:
    workflow_id = stage.intent("again")
    first = stage.request(workflow_id)
    stage.run_segment(workflow_id, first)
    with stage.dependencies.database.connect() as connection:
        connection.execute("UPDATE dbos.workflow_status SET status = 'SUCCESS'")
    forget(stage, *APP)
    assert stage.intent("again") == workflow_id
    stage.request(workflow_id)
    assert stage.queue() == {workflow_id: "SUCCESS"}
    assert stage.run(workflow_id).status is RunStatus.QUEUED
    forget(stage, "dbos.workflow_status")  # `sisu db sys-reset` is the way out
    stage.launch(stage.run(workflow_id).dagster_run_id or "")
    assert stage.queue() == {workflow_id: "ENQUEUED"}


def test_after_db_reset_alone_another_intent_is_not_affected(stage: Stage) -> None:
    before = stage.intent("before")
    stage.run_segment(before, stage.request(before))
    forget(stage, *APP)
    other = stage.intent("after")
    stage.run_segment(other, stage.request(other))
    assert stage.run(other).status is RunStatus.WAITING_INPUT


def test_after_sys_reset_alone_a_waiting_intent_cannot_continue(stage: Stage) -> None:
    workflow_id = stage.intent("orphaned")
    dagster_run_id = stage.request(workflow_id)
    stage.run_segment(workflow_id, dagster_run_id)
    stage.instance.delete_run(dagster_run_id)
    stage.decide(workflow_id)
    stage.sensor_tick()
    stage.run_segment(workflow_id, dagster_run_id)
    assert stage.run(workflow_id).status is RunStatus.WAITING_INPUT
