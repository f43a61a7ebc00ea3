"""Budgets at run time end the run, take its patches back and leave evidence; a recipe decides about the network."""

from collections.abc import Callable
from typing import Any

import pytest

from sisu_pipeline.contracts.sandbox_request import SandboxResult
from sisu_pipeline.domain.budget import BudgetExceeded
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.steps.execute import Task
from sisu_pipeline.workflow import task_planning
from sisu_pipeline.workflow.dependencies import Dependencies
from tests.builders import apply_recipe
from tests.integration.life import FILES, PATCHES, Life, ended

PLENTY = {
    "maxFanout": 9,
    "maxSBXMinutes": 9,
    "maxArtifactsMB": 9,
    "maxRetriesPerStep": 9,
    "maxWallClockMS": 10**9,
}


def budget_artifacts(dependencies: Dependencies) -> list[dict[str, Any]]:
    with dependencies.database.connect() as connection:
        return connection.execute(
            "SELECT task_key, inline->'json' AS content FROM app.artifacts WHERE step_id = 'BUDGET'"
        ).fetchall()


def answered(stdout: str, wall_ms: int) -> Callable[[Task], SandboxResult]:
    """An answer that used something."""

    def answer(task: Task) -> SandboxResult:
        result = ended()(task)
        metrics = result.metrics.model_copy(update={"wall_ms": wall_ms})
        return result.model_copy(update={"stdout": stdout, "metrics": metrics})

    return answer


@pytest.mark.parametrize(
    ("metric", "stdout", "wall_ms"), [("maxSBXMinutes", "", 60_001), ("maxArtifactsMB", "x" * 1_050_000, 1)]
)
def test_what_the_tasks_used_beyond_the_budget_ends_the_run(
    dependencies: Dependencies, metric: str, stdout: str, wall_ms: int
) -> None:
    life = Life(dependencies, budget={**PLENTY, metric: 1}, tests=["a"], files=FILES, patches=PATCHES)
    life.approve()
    with pytest.raises(BudgetExceeded, match=f"budget:{metric}"):
        life.execute(answered(stdout, wall_ms))
    assert (life.run.status, life.run.next_action) == (RunStatus.RETRIES_EXCEEDED, "REPAIR")
    assert life.files() == FILES
    (evidence,) = budget_artifacts(dependencies)
    assert (evidence["task_key"], evidence["content"]["observed"], evidence["content"]["limit"]) == (metric, 2, 1)
    assert evidence["content"]["reason"] == life.run.error


def test_a_run_that_takes_too_long_ends_with_its_step(dependencies: Dependencies) -> None:
    life = Life(dependencies, budget={**PLENTY, "maxWallClockMS": 1}, tests=["a"])
    with dependencies.database.connect() as connection:
        connection.execute("UPDATE app.runs SET created_at = created_at - interval '1 hour'")
    with pytest.raises(BudgetExceeded, match="budget:maxWallClockMS: observed 3600"):
        life.compile()
    assert life.counts()["steps"] == 0
    assert [row["task_key"] for row in budget_artifacts(dependencies)] == ["maxWallClockMS"]


def test_a_fan_out_over_budget_leaves_evidence_too(dependencies: Dependencies) -> None:
    life = Life(dependencies, budget={**PLENTY, "maxFanout": 1}, tests=["a", "b"])
    life.approve()
    with pytest.raises(BudgetExceeded):
        task_planning.plan_tasks(dependencies, life.id)
    assert [row["content"]["unit"] for row in budget_artifacts(dependencies)] == ["count"]


def test_a_run_within_its_budget_leaves_none(dependencies: Dependencies) -> None:
    life = Life(dependencies, budget=PLENTY, tests=["a"])
    life.approve()
    life.execute(ended())
    assert (life.run.status, budget_artifacts(dependencies)) == (RunStatus.SUCCEEDED, [])


@pytest.mark.parametrize(("net", "wanted"), [(None, False), (True, True), (False, False)])
def test_a_recipe_may_decide_about_its_tasks_network(
    dependencies: Dependencies, net: bool | None, wanted: bool
) -> None:
    with dependencies.database.connect() as connection:
        apply_recipe(connection, "compile-default", net=net)
    life = Life(dependencies, tests=["a"])
    life.approve()
    (task,) = task_planning.plan_tasks(dependencies, life.id)
    assert task.request.net is wanted
