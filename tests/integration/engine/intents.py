"""Intents in the engine without daemon and code server: tests take each of their steps explicitly."""

import time
from collections.abc import Callable
from typing import Any, LiteralString

import dagster as dg
from dagster._core.launcher.base import LaunchRunContext
from dagster._core.storage.tags import PARTITION_NAME_TAG

from sensors import approval_sensor
from sisu_pipeline import oracle
from sisu_pipeline.contracts.gate import Decision
from sisu_pipeline.defs.asset_keys import INTENT_JOB
from sisu_pipeline.domain.identity import run_id
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.queueing.segment_queue import SegmentRequest
from sisu_pipeline.steps.step_result import StepResult
from sisu_pipeline.store import gates, runs
from sisu_pipeline.store.queues import outbox, segments
from sisu_pipeline.store.rules.decisions import PlanDecision
from sisu_pipeline.store.runs import Run
from sisu_pipeline.worker import segment_runner
from sisu_pipeline.workflow import step_execution
from sisu_pipeline.workflow.dependencies import Dependencies
from tests.builders import a_run, an_intent

PATIENCE_S = 60.0


def until(condition: Callable[[], bool], what: str = "the condition did not come true") -> None:
    """Wait for a condition, not for a time."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


class Stage:
    """An engine and what to do in it."""

    def __init__(self, dependencies: Dependencies, instance: dg.DagsterInstance) -> None:
        self.dependencies = dependencies
        self.instance = instance

    def intent(self, goal: str = "do it", *, tests: int = 1, command: str = "run", **request: Any) -> str:
        """A queued run with so many tasks; returns its workflow id."""
        inputs = {"tests": [f"t{number}" for number in range(tests)], "testCommand": command}
        with self.dependencies.database.connect() as connection:
            return a_run(connection, an_intent(goal, inputs=inputs), **request).workflow_id

    def dagster_run(self, workflow_id: str) -> str:
        """A Dagster run of the intent's partition, created and not launched, as the daemon creates it."""
        repository = segment_runner.repository()
        self.instance.add_dynamic_partitions("intents", [workflow_id])
        run = self.instance.create_run_for_job(
            repository.get_job(INTENT_JOB), tags={PARTITION_NAME_TAG: workflow_id}
        )
        return run.run_id

    def launch(self, dagster_run_id: str) -> None:
        """Hand a Dagster run to the configured launcher."""
        run = self.instance.get_run_by_id(dagster_run_id)
        assert run is not None
        self.instance.run_launcher.launch_run(LaunchRunContext(dagster_run=run, workspace=None))

    def request(self, workflow_id: str) -> str:
        """What intent_sensor and daemon do: one Dagster run, launched; returns its id."""
        with self.dependencies.database.connect() as connection:
            outbox.mark_requested(connection, [workflow_id])
        dagster_run_id = self.dagster_run(workflow_id)
        self.launch(dagster_run_id)
        return dagster_run_id

    def run_segment(self, workflow_id: str, dagster_run_id: str) -> None:
        """What a worker does with a segment's row from the queue, in this process."""
        segment_runner.run_segment(SegmentRequest(workflow_id, dagster_run_id))

    def decide(self, workflow_id: str, decision: Decision = Decision.APPROVED) -> None:
        """A person decides, on a connection of their own."""
        with self.dependencies.database.connect() as connection:
            gates.decide(connection, PlanDecision(run_id(workflow_id), decision, "po", "because"))

    def sensor_tick(self) -> None:
        """A tick of approval_sensor that does not stay to listen."""
        approval_sensor._resume_until(self.instance, time.monotonic())

    def run(self, workflow_id: str) -> Run:
        """The run's row."""
        with self.dependencies.database.connect() as connection:
            return runs.get(connection, workflow_id)

    def dagster_status(self, dagster_run_id: str) -> str:
        """What Dagster says of a run."""
        run = self.instance.get_run_by_id(dagster_run_id)
        assert run is not None
        return run.status.value

    def messages(self, dagster_run_id: str) -> list[str]:
        """What the run's log says."""
        return [record.user_message or record.message for record in self.instance.all_logs(dagster_run_id)]

    def wait_for(self, workflow_id: str, status: RunStatus) -> Run:
        """The run once it has this status."""
        until(lambda: self.run(workflow_id).status is status, f"{workflow_id} never became {status}")
        return self.run(workflow_id)

    def rows(self, statement: LiteralString, *parameters: Any) -> list[dict[str, Any]]:
        """What a query answers."""
        with self.dependencies.database.connect() as connection:
            return connection.execute(statement, parameters).fetchall()

    def value(self, statement: LiteralString, *parameters: Any) -> Any:
        """The one value a query answers."""
        (row,) = self.rows(statement, *parameters)
        (value,) = row.values()
        return value

    def queue(self, queue: str = "intentQ") -> dict[str, str]:
        """The workflows of a queue and their state."""
        found = self.rows("SELECT workflow_uuid, status FROM dbos.workflow_status WHERE queue_name = %s", queue)
        return {row["workflow_uuid"]: row["status"] for row in found}

    def decided(
        self,
        goal: str,
        *,
        tests: list[str],
        command: str,
        version: str = "v1",
        inputs: dict[str, Any] | None = None,
        **request: Any,
    ) -> str:
        """An approved run whose DecideST is committed and whose tasks are not enqueued yet."""
        inputs = {"tests": tests, "testCommand": command, **(inputs or {})}
        with self.dependencies.database.connect() as connection:
            run = a_run(connection, an_intent(goal, inputs=inputs), **request)
            runs.move(connection, run, RunStatus.RUNNING)
            connection.execute("UPDATE app.runs SET app_version = %s WHERE id = %s", [version, run.id])
        workflow_id = run.workflow_id
        for step in (step_execution.compile_intent, step_execution.apply_patches, self._approved):
            result = step(self.dependencies, workflow_id)
            assert result is not None
            step_execution.commit(self.dependencies, workflow_id, result)
        return workflow_id

    def _approved(self, dependencies: Dependencies, workflow_id: str) -> StepResult | None:
        self.decide(workflow_id)
        return step_execution.decide_plan(dependencies, workflow_id)

    def holder(self, workflow_id: str) -> int | None:
        """The backend that holds an intent's advisory lock; None when no worker holds it."""
        with self.dependencies.database.connect() as connection:
            return segments.holder(connection, workflow_id)

    def waits_for_an_intents_lock(self) -> bool:
        """Whether a segment stands before another one's advisory lock."""
        return bool(self.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))

    def waits_for_a_row(self) -> bool:
        """Whether a transaction stands before a row that another one has locked."""
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid <> pg_backend_pid()"
        return bool(self.value(waiting))

    def broken_laws(self) -> list[str]:
        """What the oracle has to say; empty when all is well."""
        with self.dependencies.database.connect(autocommit=True) as connection:
            return [f"{verdict.law}: {verdict.rows}" for verdict in oracle.judge(connection) if not verdict.holds]
