"""One run whose steps a test executes, as an executor would."""

from collections.abc import Callable
from typing import Any

from sisu_pipeline.contracts.gate import Decision
from sisu_pipeline.contracts.sandbox_request import ErrorCode, Metrics, SandboxResult
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.steps.execute import Task
from sisu_pipeline.steps.step_result import StepResult
from sisu_pipeline.store import gates, runs, tasks
from sisu_pipeline.store.rules.decisions import PlanDecision
from sisu_pipeline.store.runs import Run
from sisu_pipeline.store.tasks import Outcome
from sisu_pipeline.workflow import patching, step_execution, task_planning
from sisu_pipeline.workflow.dependencies import Dependencies
from tests.builders import a_run, an_intent

BUDGET = {"maxFanout": 2, "maxSBXMinutes": 9, "maxArtifactsMB": 9, "maxRetriesPerStep": 9, "maxWallClockMS": 10**6}
FILES = {"a.txt": "before\n", "keep.txt": "keep\n"}
PATCHES = [
    {"targetPath": "a.txt", "postimageContent": "after\n", "diffText": "-before\n+after\n"},
    {"targetPath": "new/b.txt", "postimageContent": "new\n", "diffText": "+new\n"},
]


class Life:
    """One run, driven step by step as an executor would."""

    def __init__(
        self,
        dependencies: Dependencies,
        *,
        budget: dict[str, int] | None = None,
        recipe: str | None = None,
        **inputs: Any,
    ) -> None:
        self.dependencies = dependencies
        request = {"budget": budget, "recipeName": recipe}
        with dependencies.database.connect() as connection:
            run = a_run(connection, an_intent(inputs=inputs), **{k: v for k, v in request.items() if v})
            runs.move(connection, run, RunStatus.RUNNING)
        self.id = run.workflow_id
        self.run_id = run.id

    @property
    def run(self) -> Run:
        with self.dependencies.database.connect() as connection:
            return runs.get(connection, self.id)

    def compile(self) -> StepResult:
        return self.commit(step_execution.compile_intent(self.dependencies, self.id))

    def patch(self) -> StepResult:
        patched = step_execution.apply_patches(self.dependencies, self.id)
        assert patched is not None
        return self.commit(patched)

    def wait(self) -> None:
        with self.dependencies.database.connect() as connection:
            runs.move(connection, self.run, RunStatus.WAITING_INPUT, next_action="APPROVE_PLAN")

    def say(self, decision: Decision, plan_sha256: str | None = None) -> None:
        with self.dependencies.database.connect() as connection:
            gates.decide(connection, PlanDecision(self.run_id, decision, "po", "because", plan_sha256))

    def decide(self) -> StepResult:
        result = step_execution.decide_plan(self.dependencies, self.id)
        assert result is not None
        return self.commit(result)

    def plan(self) -> None:
        self.compile()
        self.patch()

    def approve(self) -> None:
        self.plan()
        self.say(Decision.APPROVED)
        self.decide()

    def execute(self, answer: Callable[[Task], SandboxResult]) -> StepResult:
        planned = task_planning.plan_tasks(self.dependencies, self.id)
        with self.dependencies.database.connect() as connection:
            outcomes = [Outcome(self.run_id, task, 1, "mock", answer(task)) for task in planned]
            tasks.store_outcomes(connection, outcomes, self.dependencies.blobs)
        result = self.commit(step_execution.collect(self.dependencies, self.id))
        step_execution.finish(self.dependencies, self.id, result)
        return result

    def commit(self, result: StepResult) -> StepResult:
        step_execution.commit(self.dependencies, self.id, result)
        return result

    def files(self) -> dict[str, str]:
        root = patching.workspace_of(self.dependencies.workspaces, self.run_id).root
        return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}

    def counts(self) -> dict[str, int]:
        with self.dependencies.database.connect() as connection:
            row = connection.execute(
                """SELECT (SELECT count(*) FROM app.run_steps) AS steps,
                          (SELECT count(*) FROM app.artifacts) AS artifacts,
                          (SELECT count(*) FROM app.human_gates) AS gates,
                          (SELECT count(*) FROM app.sbx_runs) AS tasks"""
            ).fetchone()
        assert row is not None
        return row


def ended(err_code: ErrorCode = ErrorCode.NONE) -> Callable[[Task], SandboxResult]:
    def answer(task: Task) -> SandboxResult:
        return SandboxResult(
            exit=0 if err_code is ErrorCode.NONE else 1,
            stdout=f"OK: {task.request.cmd}\n",
            stderr="",
            metrics=Metrics(wall_ms=1, cpu_ms=1, mem_peak_mb=1),
            sandbox_ref="fake",
            err_code=err_code,
            task_key=task.key,
            raw={"provider": "fake", "bootMs": 0},
        )

    return answer
