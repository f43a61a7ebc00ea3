"""Two workers at one intent: the advisory lock keeps them apart, and the second finds nothing to do."""

import threading
from typing import Any

import pytest

from sisu_pipeline.contracts.operation import OperationRequest
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.engine import run_driver
from sisu_pipeline.worker import segment_runner
from sisu_pipeline.workflow import commands
from sisu_pipeline.workflow.ownership import NotOwner, enter
from sisu_pipeline.workflow.run_failure import end_run
from tests.integration.engine.intents import Stage, until
from tests.integration.engine.workers import Worker


def test_of_two_segments_at_once_one_waits_and_then_finds_nothing_to_do(
    stage: Stage, sandbox_worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow_id = stage.intent("raced")
    stage.decide(workflow_id)
    dagster_run_id = stage.request(workflow_id)
    # Two threads stand for two worker processes: only the database keeps them apart.
    monkeypatch.setattr(segment_runner, "_one_at_a_time", threading.Semaphore(2))
    drive, drives = run_driver.drive, []
    other = threading.Thread(target=stage.run_segment, args=(workflow_id, dagster_run_id))

    def driving(*facts: Any) -> None:
        drives.append(threading.current_thread())
        if len(drives) == 1:
            other.start()
            until(
                lambda: (
                    stage.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == 1
                )
            )
        drive(*facts)

    monkeypatch.setattr(run_driver, "drive", driving)
    stage.run_segment(workflow_id, dagster_run_id)
    events = len(stage.messages(dagster_run_id))
    other.join(timeout=60)
    assert not other.is_alive()
    assert len(drives) == 1
    assert stage.run(workflow_id).status is RunStatus.SUCCEEDED
    assert stage.dagster_status(dagster_run_id) == "SUCCESS"
    assert len(stage.messages(dagster_run_id)) == events
    assert stage.value("SELECT count(*) FROM app.run_steps") == 4
    assert stage.value("SELECT max(seen_count) FROM app.mock_receipts") == 1


@pytest.mark.parametrize("is_reported", [True, False])
def test_a_segment_that_is_executed_again_after_a_retry_does_not_take_the_intent_back(
    stage: Stage, is_reported: bool
) -> None:
    """Its worker died as it ended: before the queue recorded the end, or already before Dagster did."""
    workflow_id = stage.intent("retried at once")
    first = stage.request(workflow_id)
    end_run(stage.dependencies, stage.run(workflow_id).id, RunStatus.RETRIES_EXCEEDED, "it failed")
    if is_reported:
        dagster_run = stage.instance.get_run_by_id(first)
        assert dagster_run is not None
        stage.instance.report_run_failed(dagster_run)
    with stage.dependencies.database.connect() as connection:
        commands.retry(connection, workflow_id, OperationRequest())
    stage.run_segment(workflow_id, first)
    run = stage.run(workflow_id)
    assert (run.status, run.dagster_run_id) == (RunStatus.REPAIRING, None)
    assert stage.dagster_status(first) == "FAILURE"
    second = stage.request(workflow_id)
    stage.run_segment(workflow_id, second)
    run = stage.run(workflow_id)
    assert (run.status, run.dagster_run_id) == (RunStatus.WAITING_INPUT, second)
    assert stage.broken_laws() == []


def test_a_dagster_run_that_does_not_own_the_intent_may_not_enter(stage: Stage) -> None:
    workflow_id = stage.intent("owned")
    owner = stage.request(workflow_id)
    with pytest.raises(NotOwner, match=f"is queued in Dagster run {owner}"):
        enter(stage.dependencies.database, workflow_id, "another")


def test_entering_again_changes_nothing_and_a_waiting_run_stays_waiting(stage: Stage) -> None:
    workflow_id = stage.intent("entered")
    owner = stage.request(workflow_id)
    stage.run_segment(workflow_id, owner)
    waiting = stage.run(workflow_id)
    assert waiting.status is RunStatus.WAITING_INPUT
    again = enter(stage.dependencies.database, workflow_id, owner)
    assert (again.status, again.segment) == (waiting.status, waiting.segment)
    stage.decide(workflow_id)
    assert enter(stage.dependencies.database, workflow_id, owner).status is RunStatus.RUNNING


def test_a_run_that_waits_for_approval_holds_no_lock_and_no_thread(stage: Stage) -> None:
    workflow_id = stage.intent("parked")
    dagster_run_id = stage.request(workflow_id)
    before = threading.active_count()
    stage.run_segment(workflow_id, dagster_run_id)
    assert stage.dagster_status(dagster_run_id) == "SUSPENDED"
    # The session ends with the segment; its backend may take a moment to go and to release the lock.
    until(lambda: stage.holder(workflow_id) is None, "the intent's lock is still held")
    assert threading.active_count() <= before + 4  # a pool's own threads, of which some may just begin
