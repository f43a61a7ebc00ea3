"""One run whose segments the test drives, and whose gates it meets through the API."""

import itertools
from typing import Any

import httpx

from sisu_pipeline.steps.step_result import StepResult, plan_gate_key
from sisu_pipeline.store.runs import Run
from sisu_pipeline.workflow import ownership, run_failure, step_execution
from sisu_pipeline.workflow.dependencies import Dependencies
from tests.builders import a_run, an_intent
from tests.integration.life import FILES, PATCHES, Life, ended

# The API of a test session keeps its workspaces: every run is of an intent of its own.
_tickets = itertools.count(1)


class Waiting(Life):
    """A run with two patches that waits at its plan gate (or, with `ask`, at its question)."""

    def __init__(
        self,
        dependencies: Dependencies,
        *,
        constraints: dict[str, Any] | None = None,
        request: dict[str, Any] | None = None,
        start: bool = True,
        goal: str = "Make the tests pass",
        **inputs: Any,
    ) -> None:
        self.dependencies = dependencies
        files = {} if "repo" in inputs else {"files": FILES}
        given = {**files, "patches": PATCHES, "tests": ["t1"], "ticket": next(_tickets), **inputs}
        with dependencies.database.connect() as connection:
            run = a_run(connection, an_intent(goal, inputs=given, constraints=constraints), **(request or {}))
        self.id, self.run_id = run.workflow_id, run.id
        self.owner = f"dagster-{run.id}"
        self.gate = plan_gate_key(run.id)
        if start:
            self.segment()

    def segment(self) -> Run:
        """What one segment does: steps until a gate or the end. Failures end the run, as an executor's would."""
        database = self.dependencies.database
        ownership.enter(database, self.id, self.owner)
        for step in (step_execution.compile_intent, step_execution.apply_patches, step_execution.decide_plan):
            if self.run.status.is_terminal:
                return self.run
            if not self._do(step):
                return self.run
        if not self.run.status.is_terminal:
            self.execute(ended())
        return self.run

    def _do(self, step: Any) -> bool:
        try:
            result: StepResult | None = step(self.dependencies, self.id)
            while result is None and not ownership.suspend(self.dependencies.database, self.id):
                result = step(self.dependencies, self.id)
        except (step_execution.PlanRejected, step_execution.NobodyAnswered, run_failure.RunEnded):
            return False
        if result is None:
            return False
        step_execution.commit(self.dependencies, self.id, result)
        return True

    def plan_hash(self, client: httpx.Client) -> str:
        """The hash of the plan as the API shows it now."""
        sha256: str = client.get(f"/runs/{self.run_id}/plan").json()["planSha256"]
        return sha256

    def overdue(self) -> None:
        """Move every deadline of this run into the past."""
        with self.dependencies.database.connect() as connection:
            connection.execute(
                "UPDATE app.human_gates SET deadline_at = now() - interval '1 second' WHERE run_id = %s",
                [self.run_id],
            )

    def started_earlier(self, interval: str) -> None:
        """Move the run's start into the past."""
        with self.dependencies.database.connect() as connection:
            connection.execute(
                "UPDATE app.runs SET created_at = created_at - %s::interval WHERE id = %s", [interval, self.run_id]
            )

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Every row of this run in a table of ours."""
        with self.dependencies.database.connect() as connection:
            return connection.execute(f"SELECT * FROM app.{table} WHERE run_id = %s", [self.run_id]).fetchall()
