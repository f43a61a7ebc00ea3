"""One intent in the real store beside its model: what people and workers do to it, both must agree on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from resources.database import Connection
from sisu_pipeline.contracts.gate import PlanApprovalRequest, PlanRejectionRequest
from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.contracts.sandbox_request import ErrorCode
from sisu_pipeline.domain.errors import DecisionConflict, IdentityDrift, NotFound, StartRefused
from sisu_pipeline.domain.identity import run_id
from sisu_pipeline.domain.status import IllegalTransition
from sisu_pipeline.steps.execute import Task
from sisu_pipeline.store import gates, tasks
from sisu_pipeline.store.tasks import Outcome, Try
from sisu_pipeline.workflow import ownership, patching, step_execution, task_planning
from sisu_pipeline.workflow.dependencies import Dependencies
from sisu_pipeline.workflow.run_failure import RunEnded
from sisu_pipeline.workflow.step_execution import PlanRejected, SandboxExecutionFailed
from tests.integration.intent_model import INFRASTRUCTURE, STEPS, Done, Model, Refused, Seen
from tests.integration.life import FILES, ended

REFUSALS: dict[str, type[Exception]] = {
    "not found": NotFound,
    "drift": IdentityDrift,
    "canceled": StartRefused,
    "conflict": DecisionConflict,
    "illegal": IllegalTransition,
}
PATCHED = {"a.txt": "after\n", "keep.txt": "keep\n", "new/b.txt": "new\n"}
EDIT = [{"targetPath": "a.txt", "postimageContent": "edited\n", "diffText": "+edited\n"}]
EDITED = {"a.txt": "edited\n", "keep.txt": "keep\n"}
EXECUTE = STEPS.index("ExecuteST")

_ROWS = """
SELECT r.status, r.queue_partition_key AS partition, r.retry_count AS retries, r.segment, r.last_step,
    ARRAY(SELECT step_id FROM app.run_steps WHERE run_id = r.id AND step_id <> 'ExecuteST' ORDER BY started_at)
        AS steps,
    (SELECT count(*) FROM app.run_steps WHERE run_id = r.id AND step_id = 'ExecuteST') AS executed,
    (SELECT coalesce(jsonb_object_agg(position || '/' || retry, err_code), '{}') FROM app.sbx_runs
        WHERE run_id = r.id) AS results,
    (SELECT decision || ' by ' || decided_by FROM app.plan_approvals WHERE run_id = r.id) AS decision
FROM app.runs r WHERE r.workflow_id = %s
"""
# Everything that is only ever added to.
_COUNTS = """
SELECT (SELECT count(*) FROM app.run_steps WHERE run_id = r.id) AS steps,
    (SELECT count(*) FROM app.artifacts WHERE run_id = r.id) AS artifacts,
    (SELECT count(*) FROM app.sbx_runs WHERE run_id = r.id) AS results,
    (SELECT count(*) FROM app.sbx_attempts WHERE run_id = r.id) AS attempts,
    (SELECT count(*) FROM app.human_gates WHERE run_id = r.id) AS gates,
    (SELECT count(*) FROM app.plan_approvals WHERE run_id = r.id)
        + (SELECT count(*) FROM app.passed_deadlines WHERE run_id = r.id) AS decisions,
    (SELECT count(*) FROM app.plan_versions WHERE run_id = r.id) AS plans,
    (SELECT count(*) FROM app.human_interactions WHERE run_id = r.id) AS interactions,
    (SELECT count(*) FROM app.patch_history WHERE run_id = r.id) AS patches
FROM app.runs r WHERE r.workflow_id = %s
"""


@dataclass
class Case:
    """An intent, its model, and how far the worker is that works on it (None: no worker does)."""

    dependencies: Dependencies
    intent: Intent
    id: str
    model: Model
    at: int | None = None
    most_rows: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """As hypothesis shows it in a story that fails."""
        return f"<intent {self.id[:9]} {self.model}>"

    @property
    def run_id(self) -> str:
        return run_id(self.id)

    @property
    def owner(self) -> str:
        """The Dagster run that may work on it: a retry gets another one."""
        return f"dagster-{self.run_id}-{self.model.retries}"

    def agree(self, expected: Callable[[], object], real: Callable[[Connection], object]) -> None:
        """Both give the same answer (when the model gives one), or both refuse for the same reason."""
        try:
            answer = expected()
        except Refused as refusal:
            with pytest.raises(REFUSALS[refusal.why]), self.dependencies.database.connect() as connection:
                real(connection)
            return
        with self.dependencies.database.connect() as connection:
            given = real(connection)
        assert answer is None or given == answer

    def request(self, word: str, person: str, seen: Seen) -> PlanApprovalRequest | PlanRejectionRequest:
        """What a person sends who says so, having seen this plan."""
        plan = None
        if seen is not Seen.NONE:
            with self.dependencies.database.connect() as connection:
                plan = gates.plan_hash(connection, self.run_id) if seen is Seen.CURRENT else "0" * 64
        if word == "approved":
            return PlanApprovalRequest(approved_by=person, plan_sha256=plan)
        return PlanRejectionRequest(rejected_by=person, reason="no", plan_sha256=plan)

    def check_rows(self, connection: Connection) -> None:
        """The rows are what the model says, and none has vanished."""
        assert connection.execute(_ROWS, [self.id]).fetchone() == _expected(self.model)
        counts = connection.execute(_COUNTS, [self.id]).fetchone() or {}
        assert [name for name, count in self.most_rows.items() if counts[name] < count] == []
        self.most_rows = counts

    def check_files(self) -> None:
        """The workspace of an ended run is patched, or as it was."""
        root = patching.workspace_of(self.dependencies.workspaces, self.run_id).root
        files = {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}
        if self.model.status == "succeeded":
            assert files == (EDITED if self.model.is_edited else PATCHED)
        elif self.model.has_ended:
            assert files in (FILES, {})

    def settle(self) -> None:
        """A worker begins anew and goes on until the run has ended or waits for a person."""
        self.at = None
        while True:
            self.go_on(["NONE", "NONE"])
            if self.at is None:
                return

    def go_on(self, codes: list[str], keeps: bool = True) -> None:
        """The worker's next move, up to one commit."""
        if self.at is None or self.at <= EXECUTE:  # every op up to the fan-out enters before it works
            ownership.enter(self.dependencies.database, self.id, self.owner)
            self.model.enter()
        if self.at is None:
            self.at = 0
        elif self.at < EXECUTE:
            self._step(keeps)
        elif self.at == EXECUTE:
            self._answer_tasks(codes, keeps)
        else:
            self._collect(keeps)

    def _step(self, keeps: bool) -> None:
        assert self.at is not None
        work = (step_execution.compile_intent, step_execution.apply_patches, step_execution.decide_plan)[self.at]
        done = self.model.step(STEPS[self.at], keeps)
        self.at += 1
        if done in (Done.FAILED, Done.ENDED):
            self._ends(done, lambda: work(self.dependencies, self.id))
            return
        result = work(self.dependencies, self.id)
        if done is Done.WAITS:
            assert result is None
            assert ownership.suspend(self.dependencies.database, self.id)
            self.model.suspend()
            self.at = None
            return
        assert result is not None
        assert result.is_replay is (done is Done.REPLAYED)
        if done is not Done.LOST:
            step_execution.commit(self.dependencies, self.id, result)

    def _answer_tasks(self, codes: list[str], keeps: bool) -> None:
        """Results of tasks that wait for one: each twice, and the last one never when the worker dies."""
        pending = [] if self.model.has_ended else self.model.pending()
        if pending:
            planned = task_planning.plan_tasks(self.dependencies, self.id)
            assert len(planned) == self.model.tasks
            for place in pending if keeps else pending[:-1]:
                self._keep(planned[place], codes[place])
                self.model.keep(place, codes[place])
        self.at = EXECUTE + 1

    def _keep(self, task: Task, code: str) -> None:
        attempt = 3 if code == INFRASTRUCTURE else 1
        for result in (ended(ErrorCode(code))(task), ended(ErrorCode.CMD_NONZERO)(task)):
            with self.dependencies.database.connect() as connection:
                earlier = [
                    Try(self.run_id, task.key, number, ErrorCode.NET_FAIL, "") for number in range(1, attempt)
                ]
                tasks.store_tries(connection, earlier)
                # Not the mock, whose receipts are the provider's own.
                tasks.store_outcomes(
                    connection, [Outcome(self.run_id, task, attempt, "local", result)], self.dependencies.blobs
                )

    def _collect(self, keeps: bool) -> None:
        if self.model.pending() and not self.model.has_ended:
            self.at = EXECUTE
            return
        done = self.model.collect(keeps)
        if done in (Done.FAILED, Done.ENDED):
            self._ends(done, lambda: step_execution.collect(self.dependencies, self.id))
            return
        result = step_execution.collect(self.dependencies, self.id)
        assert result.is_replay is (done is Done.REPLAYED)
        if done is Done.LOST:
            return
        step_execution.commit(self.dependencies, self.id, result)
        if not keeps:
            return
        done = self.model.finish()
        if done in (Done.FAILED, Done.ENDED):
            self._ends(done, lambda: step_execution.finish(self.dependencies, self.id, result))
        else:
            step_execution.finish(self.dependencies, self.id, result)
            self.at = None

    def _ends(self, done: Done, work: Callable[[], object]) -> None:
        self.at = None
        if done is Done.ENDED and self.model.is_open and self.model.decision is None:
            return  # an executor that reaches a closed gate of an ended run starts nothing
        with pytest.raises(RunEnded if done is Done.ENDED else (PlanRejected, SandboxExecutionFailed)):
            work()


def _expected(model: Model) -> dict[str, Any] | None:
    if not model.is_started:
        return None
    decision = model.decision
    return {
        "status": model.status,
        "partition": model.partition,
        "retries": model.retries,
        "segment": model.segment,
        "last_step": model.steps[-1] if model.steps else None,
        "steps": [step for step in model.steps if step != "ExecuteST"],
        "executed": len(model.executed),
        "results": {f"{place}/{retry}": code for (place, retry), code in model.results.items()},
        "decision": None if decision is None else f"{decision.word} by {decision.by}",
    }
