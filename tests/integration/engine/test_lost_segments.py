"""A lost segment is enqueued only if its run has not moved on since it was read, as on a slow machine it may."""

import pytest

from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.recovery.lost_work import next_segment
from sisu_pipeline.store import runs
from sisu_pipeline.store.queues.segments import LostSegment
from tests.integration.engine.intents import Stage


def reach_the_gate(stage: Stage, workflow_id: str) -> None:
    """What the first segment does to the run's row."""
    with stage.dependencies.database.connect() as connection:
        run = runs.move(connection, runs.lock(connection, workflow_id), RunStatus.RUNNING)
        run = runs.count_segment(connection, run)
        runs.move(connection, run, RunStatus.WAITING_INPUT, next_action="APPROVE_PLAN")


def test_recovery_enqueues_no_segment_for_a_run_that_reached_its_gate_meanwhile(stage: Stage) -> None:
    workflow_id = stage.intent("slow machine")
    lost = LostSegment(workflow_id, 1, is_executed=False)
    reach_the_gate(stage, workflow_id)
    assert next_segment(stage.dependencies.database, lost) is None


def test_a_launch_slower_than_recoverys_enqueues_no_segment_for_a_waiting_run(stage: Stage) -> None:
    workflow_id = stage.intent("slow launcher")
    dagster_run_id = stage.dagster_run(workflow_id)
    with stage.dependencies.database.connect() as connection:
        runs.claim(connection, workflow_id, dagster_run_id)
    reach_the_gate(stage, workflow_id)
    stage.launch(dagster_run_id)
    assert stage.queue() == {}


@pytest.mark.parametrize("status", [RunStatus.QUEUED, RunStatus.RUNNING])
def test_a_run_that_its_executed_segment_did_not_end_gets_the_next_segment(stage: Stage, status: RunStatus) -> None:
    """Its worker may have died before the first step or after the last one."""
    workflow_id = stage.intent("died at its end")
    if status is RunStatus.RUNNING:
        with stage.dependencies.database.connect() as connection:
            runs.move(connection, runs.lock(connection, workflow_id), RunStatus.RUNNING)
    lost = LostSegment(workflow_id, 1, is_executed=True)
    found = next_segment(stage.dependencies.database, lost)
    assert found is not None
    assert found.segment == 2
    # Another process that read the same lost segment enqueues nothing.
    assert next_segment(stage.dependencies.database, lost) is None
