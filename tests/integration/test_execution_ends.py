"""The other ends of a run: rejected, failed or canceled, with its files restored and its reason in its row."""

from dataclasses import replace
from typing import Any

import psycopg
import pytest

from sisu_pipeline.contracts.gate import Decision
from sisu_pipeline.contracts.sandbox_request import ErrorCode, SandboxResult
from sisu_pipeline.domain.budget import BudgetExceeded
from sisu_pipeline.domain.changes.plan_changes import ChangeInvalid
from sisu_pipeline.domain.errors import DeterminismBreach
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.steps.execute import Task
from sisu_pipeline.store import runs
from sisu_pipeline.workflow import patching, run_failure, step_execution, submission, task_planning
from sisu_pipeline.workflow.dependencies import Dependencies
from sisu_pipeline.workflow.run_failure import RunEnded
from sisu_pipeline.workflow.step_execution import PlanRejected, SandboxExecutionFailed
from tests.builders import a_run
from tests.integration.life import BUDGET, FILES, PATCHES, Life, ended


def test_a_rejected_plan_restores_the_files_and_ends_the_run(dependencies: Dependencies) -> None:
    life = Life(dependencies, files=FILES, patches=PATCHES)
    life.plan()
    life.wait()
    assert life.files() != FILES
    life.say(Decision.REJECTED)
    with pytest.raises(PlanRejected, match=r"rationale: because"):
        step_execution.decide_plan(dependencies, life.id)
    assert life.files() == FILES
    assert (life.run.status, life.run.next_action) == (RunStatus.RETRIES_EXCEEDED, "REPAIR")
    assert life.run.error == "Plan approval failed: no (rationale: because)"
    assert life.counts()["steps"] == 2


def test_an_early_approval_of_another_plan_does_not_approve_this_one(dependencies: Dependencies) -> None:
    life = Life(dependencies, files=FILES, patches=PATCHES)
    life.say(Decision.APPROVED, plan_sha256="0" * 64)
    life.plan()
    with pytest.raises(PlanRejected, match="it was for plan 0000"):
        step_execution.decide_plan(dependencies, life.id)
    assert life.files() == FILES
    assert life.run.status is RunStatus.RETRIES_EXCEEDED


@pytest.mark.parametrize(
    "inputs",
    [
        {"tests": "all"},
        {"patches": [{"targetPath": ""}]},
        {"testCommand": ""},
        {"tests": ["t"] * 10_001},
    ],
)
def test_a_plan_out_of_contract_ends_the_run(
    dependencies: Dependencies, monkeypatch: pytest.MonkeyPatch, inputs: dict[str, Any]
) -> None:
    # As an intent that an earlier release has stored.
    monkeypatch.setattr(submission, "check_inputs", lambda intent: None)
    life = Life(dependencies, **inputs)
    with pytest.raises(ValueError, match="invalid Plan"):
        life.compile()
    assert life.run.status is RunStatus.RETRIES_EXCEEDED
    assert life.counts() == {"steps": 0, "artifacts": 0, "gates": 0, "tasks": 0}


def test_a_patch_that_leaves_the_workspace_ends_the_run_with_nothing_patched(dependencies: Dependencies) -> None:
    escape = {"targetPath": "../out.txt", "postimageContent": "x", "diffText": ""}
    life = Life(dependencies, files=FILES, patches=[*PATCHES, escape])
    with pytest.raises(ChangeInvalid):
        life.compile()
    assert life.run.error == (
        "path '../out.txt' must be relative and stay in the workspace: no '.', '..' or empty part"
    )
    assert life.counts() == {"steps": 0, "artifacts": 0, "gates": 0, "tasks": 0}


def test_a_run_whose_workspace_cannot_be_restored_ends_with_that_in_its_error(
    dependencies: Dependencies,
) -> None:
    life = Life(dependencies, files=FILES, patches=PATCHES)
    life.plan()
    root = patching.workspace_of(dependencies.workspaces, life.run_id).root
    (root / "a.txt").write_text("someone else's\n")
    life.say(Decision.REJECTED)
    with pytest.raises(PlanRejected):
        step_execution.decide_plan(dependencies, life.id)
    assert life.run.status is RunStatus.RETRIES_EXCEEDED
    assert life.run.error is not None
    assert life.run.error.startswith("APPLY_PATCH_ROLLBACK_FAILED:POSTIMAGE_MISMATCH:a.txt;source=Plan approval")


@pytest.mark.parametrize("planted", ["link", "folder"])
def test_a_run_ends_even_if_its_workspace_has_no_file_in_a_files_place(
    dependencies: Dependencies, planted: str
) -> None:
    life = Life(dependencies, files=FILES, patches=PATCHES)
    life.plan()
    target = patching.workspace_of(dependencies.workspaces, life.run_id).root / "a.txt"
    target.unlink()
    if planted == "link":
        target.symlink_to("/etc/passwd")
    else:
        target.mkdir()
    life.say(Decision.REJECTED)
    with pytest.raises(PlanRejected):
        step_execution.decide_plan(dependencies, life.id)
    assert life.run.status is RunStatus.RETRIES_EXCEEDED
    assert (life.run.error or "").startswith("APPLY_PATCH_ROLLBACK_FAILED:PATCH_PATH_NOT_ALLOWED:a.txt;source=")


def test_a_failed_task_keeps_every_result_and_ends_the_run(dependencies: Dependencies) -> None:
    life = Life(dependencies, tests=["good", "bad"], files=FILES, patches=PATCHES)
    life.approve()

    def answer(task: Task) -> SandboxResult:
        failed = task.request.cmd.endswith("bad")
        return ended(ErrorCode.CMD_NONZERO if failed else ErrorCode.NONE)(task)

    with pytest.raises(SandboxExecutionFailed, match=r"CMD_NONZERO.*1 of 2 tasks"):
        life.execute(answer)
    assert life.run.status is RunStatus.RETRIES_EXCEEDED
    assert life.run.error == "SBX execution failed [CMD_NONZERO]: 1 of 2 tasks"
    assert life.counts()["tasks"] == 2
    assert life.counts()["steps"] == 4
    assert life.files() == FILES


def test_a_task_the_infrastructure_lost_leaves_no_step_result(dependencies: Dependencies) -> None:
    life = Life(dependencies, tests=["a"])
    life.approve()
    with pytest.raises(SandboxExecutionFailed, match="exceeded its maximum of 3 retries"):
        life.execute(ended(ErrorCode.NET_FAIL))
    assert life.run.status is RunStatus.RETRIES_EXCEEDED
    assert life.counts()["steps"] == 3


def test_a_fan_out_over_its_budget_ends_the_run_before_any_task(dependencies: Dependencies) -> None:
    life = Life(dependencies, budget=BUDGET, tests=["a", "b", "c"])
    life.approve()
    with pytest.raises(BudgetExceeded, match=r"budget:maxFanout: observed 3 > limit 2 \(runtime\)"):
        task_planning.plan_tasks(dependencies, life.id)
    assert life.run.status is RunStatus.RETRIES_EXCEEDED
    assert life.counts()["tasks"] == 0


def test_another_output_for_a_stored_step_is_a_breach_and_ends_the_run(dependencies: Dependencies) -> None:
    life = Life(dependencies)
    result = life.compile()
    forged = replace(result, output={**result.output, "goal": "another"})
    with pytest.raises(DeterminismBreach):
        life.commit(forged)
    assert life.run.status is RunStatus.RETRIES_EXCEEDED
    assert "Determinism violation" in (life.run.error or "")


def test_an_intent_row_that_does_not_hash_to_its_id_ends_the_run(dependencies: Dependencies) -> None:
    life = Life(dependencies)
    with dependencies.database.connect() as connection:
        connection.execute("SET LOCAL session_replication_role = replica")  # a trigger refuses it
        connection.execute("UPDATE app.intents SET goal = 'another goal'")
    with pytest.raises(DeterminismBreach, match="does not hash to its id"):
        life.compile()
    assert life.run.status is RunStatus.RETRIES_EXCEEDED


def test_the_result_of_a_step_is_not_stored_after_the_run_ended(dependencies: Dependencies) -> None:
    life = Life(dependencies)
    result = step_execution.compile_intent(dependencies, life.id)
    run_failure.end_run(dependencies, life.run_id, RunStatus.CANCELED, "canceled by po")
    with pytest.raises(RunEnded):
        life.commit(result)
    assert life.counts()["steps"] == 0
    with pytest.raises(RunEnded):
        step_execution.compile_intent(dependencies, life.id)
    assert (life.run.status, life.run.error, life.run.next_action) == (
        RunStatus.CANCELED,
        "canceled by po",
        "NONE",
    )


def test_a_cancellation_restores_the_files(dependencies: Dependencies) -> None:
    life = Life(dependencies, files=FILES, patches=PATCHES)
    life.plan()
    run_failure.end_run(dependencies, life.run_id, RunStatus.CANCELED, "canceled by po")
    assert life.files() == FILES


def test_the_first_end_of_a_run_is_final(dependencies: Dependencies) -> None:
    life = Life(dependencies)
    run_failure.end_run(dependencies, life.run_id, RunStatus.CANCELED, "first")
    run_failure.end_run(dependencies, life.run_id, RunStatus.RETRIES_EXCEEDED, "second")
    assert (life.run.status, life.run.error) == (RunStatus.CANCELED, "first")


def test_a_run_that_was_never_started_can_be_ended(dependencies: Dependencies) -> None:
    with dependencies.database.connect() as connection:
        run = a_run(connection)
    run_failure.end_run(dependencies, run.id, RunStatus.CANCELED, "not needed")
    with dependencies.database.connect() as connection:
        assert runs.get(connection, run.id).status is RunStatus.CANCELED


@pytest.mark.parametrize("error", [psycopg.OperationalError("gone"), psycopg.InterfaceError("closed")])
def test_an_unreachable_database_ends_no_run(dependencies: Dependencies, error: Exception) -> None:
    life = Life(dependencies)
    with pytest.raises(type(error)), run_failure.ending_on_failure(dependencies, life.run_id):
        raise error
    assert life.run.status is RunStatus.RUNNING


def test_a_failure_without_a_message_is_named_by_its_type(dependencies: Dependencies) -> None:
    life = Life(dependencies)
    with pytest.raises(ZeroDivisionError), run_failure.ending_on_failure(dependencies, life.run_id):
        raise ZeroDivisionError
    assert life.run.error == "ZeroDivisionError"
