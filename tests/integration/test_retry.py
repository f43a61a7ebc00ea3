"""A retry continues from the first step without a good result; what succeeded is never executed again."""

from collections.abc import Callable
from typing import Any

import pytest

from sisu_pipeline import oracle
from sisu_pipeline.contracts.operation import OperationRequest
from sisu_pipeline.contracts.sandbox_request import ErrorCode, SandboxResult
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.recovery import cancel_cleanup
from sisu_pipeline.steps.execute import Task
from sisu_pipeline.store import runs, tasks
from sisu_pipeline.store.tasks import Outcome, Try
from sisu_pipeline.workflow import commands, patching, step_execution, task_planning
from sisu_pipeline.workflow.dependencies import Dependencies
from sisu_pipeline.workflow.run_failure import RunEnded
from sisu_pipeline.workflow.step_execution import SandboxExecutionFailed
from tests.integration.life import FILES, PATCHES, Life, ended


def _but(failing: str, code: ErrorCode = ErrorCode.CMD_NONZERO) -> Any:
    return lambda task: ended(code if task.request.cmd.endswith(failing) else ErrorCode.NONE)(task)


def _good(task: Task) -> SandboxResult:
    return ended(ErrorCode.NONE)(task)


def _retry(life: Life) -> None:
    with life.dependencies.database.connect() as connection:
        commands.retry(connection, life.id, OperationRequest())
        runs.move(connection, runs.get(connection, life.id), RunStatus.RUNNING)


def _fail(life: Life, failing: str) -> None:
    with pytest.raises(SandboxExecutionFailed):
        life.execute(_but(failing))


def _keys(life: Life) -> dict[str, str]:
    return {task.request.cmd: task.key for task in task_planning.plan_tasks(life.dependencies, life.id)}


def _broken_laws(dependencies: Dependencies) -> set[str]:
    """Behind these lives stand no Dagster run and no provider: the laws about those two have nothing to hold to."""
    with dependencies.database.connect() as connection:
        verdicts = oracle.judge_here(connection)
    broken = {verdict.law for verdict in verdicts if verdict.applicable and not verdict.holds}
    return broken - {"040_one_dagster_run_owns_an_intent", "510_results_and_receipts_agree"}


def test_a_retry_executes_only_the_failed_task_under_a_new_key(dependencies: Dependencies) -> None:
    life = Life(dependencies, tests=["a", "b", "c"], testCommand="run")
    life.approve()
    first = _keys(life)
    _fail(life, "b")
    _retry(life)
    second = _keys(life)
    assert {name for name in first if first[name] != second[name]} == {"run b"}
    with dependencies.database.connect() as connection:
        assert tasks.finished_positions(connection, life.run_id) == [range(1), range(2, 3)]


def test_a_successful_retry_keeps_the_evidence_of_the_failure(dependencies: Dependencies) -> None:
    life = Life(dependencies, tests=["a", "b"], testCommand="run")
    life.approve()
    _fail(life, "b")
    _retry(life)
    result = life.execute(_good)
    assert (life.run.status, life.run.retry_count, result.output["errCode"]) == (RunStatus.SUCCEEDED, 1, "NONE")
    with dependencies.database.connect() as connection:
        rows = connection.execute(
            "SELECT position, retry, err_code FROM app.sbx_runs WHERE run_id = %s ORDER BY position, retry",
            [life.run_id],
        ).fetchall()
    assert [tuple(row.values()) for row in rows] == [(0, 0, "NONE"), (1, 0, "CMD_NONZERO"), (1, 1, "NONE")]
    assert _broken_laws(dependencies) == set()


def _keep_retried(life: Life, code: ErrorCode, attempt: int = 1) -> None:
    """The result of the second task, which the retry asks again, with nobody left to merge it."""
    asked = task_planning.plan_tasks(life.dependencies, life.id)[1]
    with life.dependencies.database.connect() as connection:
        tasks.store_tries(
            connection, [Try(life.run_id, asked.key, number, code, "") for number in range(1, attempt)]
        )
        outcome = Outcome(life.run_id, asked, attempt, "mock", ended(code)(asked))
        tasks.store_outcomes(connection, [outcome], life.dependencies.blobs)


def _canceled(life: Life) -> None:
    _keep_retried(life, ErrorCode.NONE)
    with life.dependencies.database.connect() as connection:
        commands.cancel(connection, life.id, OperationRequest())
    cancel_cleanup.clean_up_canceled(life.dependencies, lambda run, reason: None)


def _given_up(life: Life) -> None:
    _keep_retried(life, ErrorCode.NET_FAIL, attempt=3)
    with pytest.raises(SandboxExecutionFailed):
        step_execution.collect(life.dependencies, life.id)


@pytest.mark.parametrize("end", [_canceled, _given_up])
def test_a_retry_without_a_result_leaves_the_first_result_in_place(
    dependencies: Dependencies, end: Callable[[Life], None]
) -> None:
    """Its results are newer than the ExecuteST that stands: no law takes them for that one's."""
    life = Life(dependencies, tests=["a", "b"], testCommand="run")
    life.approve()
    _fail(life, "b")
    _retry(life)
    end(life)
    assert life.run.status in (RunStatus.CANCELED, RunStatus.RETRIES_EXCEEDED)
    with dependencies.database.connect() as connection:
        rows = connection.execute("SELECT retry FROM app.sbx_runs WHERE run_id = %s", [life.run_id]).fetchall()
    assert sorted(row["retry"] for row in rows) == [0, 0, 1]
    assert _broken_laws(dependencies) == set()


def test_a_run_can_be_retried_as_often_as_needed(dependencies: Dependencies) -> None:
    life = Life(dependencies, tests=["a"], testCommand="run")
    life.approve()
    _fail(life, "a")
    for _ in range(3):
        _retry(life)
        _fail(life, "a")
    _retry(life)
    life.execute(_good)
    assert (life.run.status, life.run.retry_count) == (RunStatus.SUCCEEDED, 4)


def test_the_plan_of_a_retry_is_the_same_while_its_own_results_arrive(dependencies: Dependencies) -> None:
    life = Life(dependencies, tests=["a", "b"], testCommand="run")
    life.approve()
    _fail(life, "b")
    _retry(life)
    before = _keys(life)
    _fail(life, "b")
    with dependencies.database.connect() as connection:
        retry = runs.get(connection, life.id).retry_count
    after = {task.request.cmd: task.key for task in task_planning.plan_tasks(dependencies, life.id, retry)}
    assert after == before


def test_a_retry_applies_the_patches_that_the_failure_rolled_back(dependencies: Dependencies) -> None:
    life = Life(dependencies, files=FILES, patches=PATCHES, tests=["a"], testCommand="run")
    life.approve()
    patched = life.files()
    _fail(life, "a")
    assert life.files() == FILES
    _retry(life)
    assert life.patch().is_replay
    assert life.files() == patched


def test_cleaning_up_a_canceled_run_rolls_its_patches_back_once(dependencies: Dependencies) -> None:
    life = Life(dependencies, files=FILES, patches=PATCHES)
    life.plan()
    life.wait()
    with dependencies.database.connect() as connection:
        commands.cancel(connection, life.id, OperationRequest(actor="ops", reason="enough"))
    ended_runs: list[str] = []
    closed = cancel_cleanup.clean_up_canceled(dependencies, lambda run, reason: ended_runs.append(run))
    assert [(run.run_id, run.patches) for run in closed] == [(life.run_id, len(PATCHES))]
    assert life.files() == FILES
    assert cancel_cleanup.clean_up_canceled(dependencies, lambda run, reason: ended_runs.append(run)) == []


def test_a_canceled_run_is_not_cleaned_up_while_its_segment_works(dependencies: Dependencies) -> None:
    life = Life(dependencies, files=FILES, patches=PATCHES)
    life.plan()
    with dependencies.database.connect() as connection:
        commands.cancel(connection, life.id, OperationRequest())
    with dependencies.database.connect(autocommit=True) as segment:
        segment.execute("SELECT pg_advisory_lock(hashtextextended('sisu:segment:' || %s, 0))", [life.id])
        assert cancel_cleanup.clean_up_canceled(dependencies, lambda run, reason: None) == []
        assert life.files() != FILES
    assert len(cancel_cleanup.clean_up_canceled(dependencies, lambda run, reason: None)) == 1


def test_a_step_that_was_working_when_the_run_was_canceled_commits_nothing(dependencies: Dependencies) -> None:
    life = Life(dependencies)
    result = step_execution.compile_intent(dependencies, life.id)
    with dependencies.database.connect() as connection:
        commands.cancel(connection, life.id, OperationRequest())
    with pytest.raises(RunEnded):
        life.commit(result)
    assert life.counts()["steps"] == 0


def test_a_rollback_can_be_repeated(dependencies: Dependencies) -> None:
    life = Life(dependencies, files=FILES, patches=PATCHES)
    life.plan()
    workspace = patching.workspace_of(dependencies.workspaces, life.run_id)
    assert patching.roll_back(dependencies.database, workspace, life.run_id) == len(PATCHES)
    assert patching.roll_back(dependencies.database, workspace, life.run_id) == 0
