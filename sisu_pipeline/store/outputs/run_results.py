"""What became of runs and of their tasks, for people."""

from collections.abc import Iterable
from dataclasses import dataclass

from resources.database import Connection
from sisu_pipeline.contracts.gate import DEADLINE_ACTOR, Decision
from sisu_pipeline.contracts.sandbox_request import ErrorCode
from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store.records import fetch_all

_WITHOUT_RESULT = {
    None: "no plan",
    StepId.COMPILE: "cannot apply the patches",
    StepId.APPLY_PATCH: "cannot plan the tasks",
    StepId.DECIDE: "cannot execute the tasks",
    StepId.EXECUTE: "cannot complete the run",
}
# The beginnings of errors whose cause is not the work of the run.
_AROUND_THE_STEPS = ("parked:", "Dagster run ")
_CODES = {
    ErrorCode.NONE: "passed",
    ErrorCode.BOOT_FAIL: "the sandbox did not start",
    ErrorCode.CMD_NONZERO: "failed",
    ErrorCode.TIMEOUT: "timed out",
    ErrorCode.OOM: "out of memory",
    ErrorCode.NET_FAIL: "the network failed",
    ErrorCode.UPLOAD_FAIL: "the files did not reach the sandbox",
    ErrorCode.DOWNLOAD_FAIL: "the result did not leave the sandbox",
}


@dataclass(frozen=True)
class Ending:
    """What the outcome of an ended run is about."""

    run_id: str
    decision: Decision | None
    decided_by: str | None
    failed: int
    finished: int
    has_agent: bool

    def outcome(self, status: RunStatus, last_step: StepId | None, error: str | None) -> str | None:
        """The outcome in a few words; None until the run has ended."""
        if not status.is_terminal:
            return None
        if status in (RunStatus.SUCCEEDED, RunStatus.CANCELED):
            return str(status)
        if self.decision is Decision.REJECTED:
            return (
                "rejected at the deadline"
                if self.decided_by == DEADLINE_ACTOR
                else f"rejected by {self.decided_by}"
            )
        if self.failed:
            return f"failed: {self.failed} of {self.finished} test{'' if self.finished == 1 else 's'}"
        if last_step is None and not self.has_agent and not (error or "").startswith(_AROUND_THE_STEPS):
            return "invalid input"
        return f"failed: {_WITHOUT_RESULT[last_step]}"


@dataclass(frozen=True)
class TaskOutcome:
    """The newest result of one task, with the ends of its outputs."""

    position: int
    task_key: str
    attempt: int
    retry: int
    command: str
    err_code: ErrorCode
    exit: int
    wall_ms: int
    stdout: str
    stderr: str

    @property
    def result(self) -> str:
        """The result in a few words."""
        return _CODES[self.err_code]


def endings(connection: Connection, run_ids: Iterable[str]) -> dict[str, Ending]:
    """What the outcomes of these runs are about, by run id."""
    found = fetch_all(connection, "results.endings", Ending, {"run_ids": list(run_ids)})
    return {ending.run_id: ending for ending in found}


def tasks_of(
    connection: Connection, run_id: str, *, after: int, limit: int, is_failed: bool | None, tail: int
) -> list[TaskOutcome]:
    """The results of a run's tasks behind the position `after`, in order; `tail` characters of each output."""
    wanted = {"run_id": run_id, "after": after, "limit": limit, "is_failed": is_failed, "tail": tail}
    return fetch_all(connection, "results.tasks", TaskOutcome, wanted)
