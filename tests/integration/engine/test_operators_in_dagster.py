"""What an operator does to a Dagster run in Dagster's own pages ends its intent too."""

from collections.abc import Callable

import pytest

from sisu_pipeline.contracts.gate import Decision
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.recovery import cancel_cleanup, run_recovery
from tests.integration.engine.intents import Stage


def delete(stage: Stage, dagster_run_id: str) -> None:
    stage.instance.delete_run(dagster_run_id)


def force_to_end(stage: Stage, dagster_run_id: str) -> None:
    """As terminateRun with MARK_AS_CANCELED_IMMEDIATELY does: the run launcher is not asked."""
    run = stage.instance.get_run_by_id(dagster_run_id)
    assert run is not None
    stage.instance.report_run_canceling(run)
    stage.instance.report_run_canceled(run)


def waiting(stage: Stage, goal: str) -> tuple[str, str]:
    workflow_id, dagster_run_id = queued(stage, goal)
    stage.run_segment(workflow_id, dagster_run_id)
    assert stage.run(workflow_id).status is RunStatus.WAITING_INPUT
    return workflow_id, dagster_run_id


def queued(stage: Stage, goal: str) -> tuple[str, str]:
    workflow_id = stage.intent(goal)
    return workflow_id, stage.request(workflow_id)


@pytest.mark.parametrize(
    ("operate", "how"), [(delete, "was deleted"), (force_to_end, "was canceled")], ids=["deleted", "forced to end"]
)
@pytest.mark.parametrize("prepare", [queued, waiting])
def test_the_intent_is_canceled_and_leaves_the_inbox(
    stage: Stage,
    prepare: Callable[[Stage, str], tuple[str, str]],
    operate: Callable[[Stage, str], None],
    how: str,
) -> None:
    workflow_id, dagster_run_id = prepare(stage, f"{prepare.__name__} and {how}")
    assert workflow_id not in run_recovery.cancel_removed(stage.dependencies)
    operate(stage, dagster_run_id)
    assert workflow_id in run_recovery.cancel_removed(stage.dependencies)
    run = stage.run(workflow_id)
    assert run.status is RunStatus.CANCELED
    assert run.error == f"canceled by dagster: its Dagster run {dagster_run_id} {how}"
    assert workflow_id not in run_recovery.cancel_removed(stage.dependencies)
    cleaned_up = cancel_cleanup.clean_up_canceled(stage.dependencies, lambda _run, _reason: None)
    assert run.id in [each.run_id for each in cleaned_up]
    assert stage.queue().get(workflow_id) != "ENQUEUED"
    assert stage.broken_laws() == []


def test_a_run_that_has_ended_keeps_its_status(stage: Stage) -> None:
    workflow_id, dagster_run_id = waiting(stage, "ended before")
    stage.decide(workflow_id, Decision.REJECTED)
    stage.run_segment(workflow_id, dagster_run_id)
    ended = stage.run(workflow_id).status
    assert ended.is_terminal
    delete(stage, dagster_run_id)
    assert workflow_id not in run_recovery.cancel_removed(stage.dependencies)
    assert stage.run(workflow_id).status is ended
