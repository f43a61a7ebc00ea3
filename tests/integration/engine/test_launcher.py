"""The launcher: one Dagster run per unfinished intent, replays of finished ones, and refusals with a reason."""

import pytest

from sisu_pipeline.contracts.gate import Decision
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.engine.run_launcher import SegmentRunLauncher
from sisu_pipeline.queueing import queue_priority, segment_queue
from sisu_pipeline.worker import segment_runner
from tests.integration.engine.intents import Stage
from tests.integration.engine.workers import Worker

TABLES = ("run_steps", "artifacts", "sbx_runs", "human_gates", "plan_approvals", "mock_receipts", "sbx_attempts")


def contents(stage: Stage) -> dict[str, str]:
    """Every row the intent left, as one hash per table."""
    return {
        table: stage.value(f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) AS hash FROM app.{table} t")
        for table in TABLES
    }


def finished(stage: Stage, goal: str) -> str:
    workflow_id = stage.intent(goal)
    stage.decide(workflow_id)
    stage.run_segment(workflow_id, stage.request(workflow_id))
    assert stage.run(workflow_id).status is RunStatus.SUCCEEDED
    return workflow_id


def test_the_launcher_of_the_instance_is_ours(stage: Stage) -> None:
    assert isinstance(stage.instance.run_launcher, SegmentRunLauncher)


def test_a_launched_run_is_a_segment_named_by_the_intent_with_its_partition_lane_and_version(stage: Stage) -> None:
    workflow_id = stage.intent("launch", queuePartitionKey="team-b", lane="batch")
    dagster_run_id = stage.request(workflow_id)
    (row,) = stage.rows("SELECT * FROM dbos.workflow_status")
    assert row["workflow_uuid"] == workflow_id
    assert (row["queue_name"], row["status"]) == ("intentQ", "ENQUEUED")
    assert (row["queue_partition_key"], row["application_version"]) == ("team-b", "v1")
    assert row["priority"] == queue_priority.of_work(1000, segment=1)
    assert stage.run(workflow_id).dagster_run_id == dagster_run_id
    assert stage.run(workflow_id).status is RunStatus.QUEUED


def test_a_second_run_for_a_living_intent_is_reported_canceled_with_the_reason(stage: Stage) -> None:
    workflow_id = stage.intent("living")
    first, second = stage.request(workflow_id), stage.dagster_run(workflow_id)
    stage.launch(second)
    assert stage.dagster_status(second) == "CANCELED"
    assert f"intent {workflow_id} is queued in Dagster run {first}: one intent has one run." in stage.messages(
        second
    )
    assert set(stage.queue()) == {workflow_id}
    assert stage.run(workflow_id).dagster_run_id == first


def test_a_dagster_run_of_an_intent_without_a_run_is_canceled_with_instructions(stage: Stage) -> None:
    stranger = stage.dagster_run("ih_" + "0" * 64)
    stage.launch(stranger)
    assert stage.dagster_status(stranger) == "CANCELED"
    (refusal,) = [text for text in stage.messages(stranger) if "has no run" in text]
    assert "POST /intents/{id}/run" in refusal and "sisu run start" in refusal
    assert stage.queue() == {}


def test_a_run_for_a_finished_intent_replays_the_stored_rows(stage: Stage, sandbox_worker: Worker) -> None:
    workflow_id = finished(stage, "replayed")
    before, run = contents(stage), stage.run(workflow_id)
    again = stage.dagster_run(workflow_id)
    stage.launch(again)
    assert f"job/{again}" in stage.queue()
    stage.run_segment(workflow_id, again)
    assert stage.dagster_status(again) == "SUCCESS"
    assert contents(stage) == before
    assert stage.run(workflow_id) == run


@pytest.mark.parametrize("decided", [False, True])
def test_a_run_for_an_intent_that_was_canceled_at_the_gate_ends_and_changes_nothing(
    stage: Stage, decided: bool
) -> None:
    workflow_id = stage.intent(f"canceled {decided}")
    first = stage.request(workflow_id)
    stage.run_segment(workflow_id, first)
    if decided:
        stage.decide(workflow_id)
    stage.instance.run_launcher.terminate(first)
    again, before = stage.dagster_run(workflow_id), contents(stage)
    stage.launch(again)
    stage.run_segment(workflow_id, again)
    assert stage.dagster_status(again) in ("CANCELED", "FAILURE")
    assert contents(stage) == before
    assert stage.run(workflow_id).status is RunStatus.CANCELED


def test_a_run_for_a_rejected_intent_fails_as_the_intent_did(stage: Stage) -> None:
    workflow_id = stage.intent("rejected")
    stage.decide(workflow_id, Decision.REJECTED)
    first = stage.request(workflow_id)
    stage.run_segment(workflow_id, first)
    assert stage.dagster_status(first) == "FAILURE"
    ended = stage.run(workflow_id)
    again = stage.dagster_run(workflow_id)
    stage.launch(again)
    stage.run_segment(workflow_id, again)
    assert stage.dagster_status(again) == "FAILURE"
    assert stage.run(workflow_id) == ended


def test_a_segment_enqueued_twice_is_one_workflow(stage: Stage) -> None:
    workflow_id = stage.intent("asked twice")
    dagster_run_id = stage.request(workflow_id)
    stage.launch(dagster_run_id)
    segment_queue.enqueue(stage.dependencies.database, segment_queue.of_run(stage.run(workflow_id)))
    assert stage.queue() == {workflow_id: "ENQUEUED"}


def test_a_decision_acted_on_twice_enqueues_one_segment(stage: Stage) -> None:
    workflow_id = stage.intent("decided")
    stage.run_segment(workflow_id, stage.request(workflow_id))
    stage.decide(workflow_id)
    stage.sensor_tick()
    with stage.dependencies.database.connect() as connection:
        connection.execute("UPDATE app.runs SET requested_at = NULL")
    stage.sensor_tick()
    assert set(stage.queue()) == {workflow_id, f"{workflow_id}/2"}


def queued_first(stage: Stage) -> list[str]:
    """The workflows on `intentQ` in the order in which a worker takes them from one partition."""
    rows = stage.rows("SELECT workflow_uuid FROM dbos.workflow_status ORDER BY priority, created_at")
    return [row["workflow_uuid"] for row in rows]


def test_what_was_approved_goes_before_what_was_never_planned(stage: Stage) -> None:
    decided = stage.intent("decided", priority=7)
    stage.run_segment(decided, stage.request(decided))
    with stage.dependencies.database.connect() as connection:
        connection.execute("DELETE FROM dbos.workflow_status")
    unplanned = [stage.intent(f"unplanned {number}", priority=number) for number in (1, 2)]
    for workflow_id in reversed(unplanned):
        stage.request(workflow_id)
    stage.decide(decided)
    stage.sensor_tick()
    assert queued_first(stage) == [f"{decided}/2", *unplanned]


def test_a_decision_in_dagster_goes_before_a_backfill_of_ended_intents(stage: Stage) -> None:
    workflow_id = stage.intent("ended")
    stage.decide(workflow_id, Decision.REJECTED)
    stage.run_segment(workflow_id, stage.request(workflow_id))
    with stage.dependencies.database.connect() as connection:
        connection.execute("DELETE FROM dbos.workflow_status")
    replays = [stage.dagster_run(workflow_id) for _ in range(3)]
    configurations: dict[str, dict[str, str]] = {
        "submit_intent": {"goal": "another"},
        "approve_plan": {"run_id": workflow_id, "decided_by": "po"},
    }
    jobs = [
        stage.instance.create_run_for_job(
            segment_runner.repository().get_job(name), run_config={"ops": {f"{name}_op": {"config": configuration}}}
        ).run_id
        for name, configuration in configurations.items()
    ]
    for dagster_run_id in (*replays, *jobs):
        stage.launch(dagster_run_id)
    assert queued_first(stage) == [f"job/{dagster_run_id}" for dagster_run_id in (*reversed(jobs), *replays)]


def test_terminating_a_run_that_has_not_begun_cancels_the_intent_and_no_step_runs(stage: Stage) -> None:
    workflow_id = stage.intent("terminated early")
    dagster_run_id = stage.request(workflow_id)
    assert stage.instance.run_launcher.terminate(dagster_run_id)
    stage.run_segment(workflow_id, dagster_run_id)
    assert stage.dagster_status(dagster_run_id) == "CANCELED"
    assert stage.run(workflow_id).status is RunStatus.CANCELED
    assert stage.value("SELECT count(*) FROM app.run_steps") == 0


def test_terminating_a_second_run_leaves_the_intent_alone(stage: Stage) -> None:
    workflow_id = stage.intent("bystander")
    stage.request(workflow_id)
    other = stage.dagster_run(workflow_id)
    stage.instance.run_launcher.terminate(other)
    assert stage.run(workflow_id).status is RunStatus.QUEUED


def test_an_intent_whose_run_was_marked_canceled_in_dagster_is_canceled_with_it(stage: Stage) -> None:
    """The UI can mark a run canceled without asking the launcher; then a decision finds nothing to resume."""
    workflow_id = stage.intent("marked")
    dagster_run_id = stage.request(workflow_id)
    stage.run_segment(workflow_id, dagster_run_id)
    run = stage.instance.get_run_by_id(dagster_run_id)
    assert run is not None
    stage.instance.report_run_canceled(run)
    stage.decide(workflow_id)
    stage.run_segment(workflow_id, dagster_run_id)
    ended = stage.run(workflow_id)
    assert (ended.status, ended.error) == (RunStatus.CANCELED, "canceled by dagster: the run was marked canceled")


def test_terminating_an_ended_or_unknown_dagster_run_returns_false(stage: Stage) -> None:
    workflow_id = stage.intent("living")
    stage.request(workflow_id)
    second = stage.dagster_run(workflow_id)
    stage.launch(second)  # refused, so it has ended
    assert not stage.instance.run_launcher.terminate(second)
    assert not stage.instance.run_launcher.terminate("00000000-0000-0000-0000-000000000000")
