"""Runs: one per intent. The only module that writes a run's status."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from resources.database import Connection
from sisu_pipeline.contracts.approval_policy import ApprovalRules
from sisu_pipeline.contracts.gate import Channel
from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.domain.canonical import same_json
from sisu_pipeline.domain.errors import Drift, IdentityDrift, NotFound, StartRefused
from sisu_pipeline.domain.identity import run_id
from sisu_pipeline.domain.plain_json import plain_message
from sisu_pipeline.domain.policy import Admission, PolicyVersion
from sisu_pipeline.domain.status import IllegalTransition, RunStatus, can_move
from sisu_pipeline.store.intents import Stored, record_submission
from sisu_pipeline.store.records import execute, fetch_all, fetch_first, fetch_one, fetch_value

IDENTITY = (
    "recipe_id",
    "recipe_version",
    "recipe_hash",
    "queue_partition_key",
    "tenant_id",
    "lane",
    "budget",
    "trace_id",
)


@dataclass(frozen=True)
class Run:
    """A row of `app.runs`."""

    id: str
    intent_id: str
    workflow_id: str
    status: RunStatus
    recipe_id: str
    recipe_version: int
    recipe_hash: str
    policy_id: str
    policy_version: int
    policy_sha256: str
    approval_rules: dict[str, Any]
    queue_name: str
    queue_partition_key: str
    priority: int
    lane: str
    tenant_id: str | None
    trace_id: str | None
    deduplication_id: str | None
    task_key: str | None
    budget: dict[str, Any] | None
    timeout_ms: int | None
    app_version: str
    submitted_by: str | None
    segment: int
    dagster_run_id: str | None
    last_step: str | None
    error: str | None
    next_action: str | None
    retry_count: int
    created_at: datetime
    updated_at: datetime

    @property
    def policy_name(self) -> str:
        """The policy version that the run keeps from its start, as `id@version`."""
        return f"{self.policy_id}@{self.policy_version}"

    @property
    def rules(self) -> ApprovalRules:
        """The rules of that policy as the intent's constraints tighten them."""
        return ApprovalRules.from_json(self.approval_rules)


@dataclass(frozen=True)
class PinnedPolicy:
    """The policy version that a run keeps from its start, and its rules as the intent tightens them."""

    version: PolicyVersion
    rules: ApprovalRules


@dataclass(frozen=True)
class Cause:
    """Who causes a change of a run's status, why, and by which channel."""

    person: str
    reason: str
    channel: Channel


@dataclass(frozen=True)
class TimedOutRun:
    """A run that has not ended within its `timeoutMS`."""

    id: str


@dataclass(frozen=True)
class DescribedRun(Run):
    """A run with its intent's goal."""

    goal: str


@dataclass(frozen=True)
class StatusCount:
    """How many runs have a status, and when the oldest of them was created."""

    status: RunStatus
    runs: int
    oldest_created_at: datetime


def start(
    connection: Connection,
    workflow_id: str,
    admission: Admission,
    app_version: str,
    submitter: str | None = None,
    policy: PinnedPolicy | None = None,
    channel: Channel = Channel.API,
) -> Stored:
    """Insert the run of an intent; its row is also the request for a Dagster run. A repeat is a replay.

    Without `policy`, the run keeps the newest version of its recipe's policy, not tightened.
    Raises IdentityDrift when the intent has a run with another value of a field in `IDENTITY`, or StartRefused when
    its run was canceled.
    """
    incoming = {
        "recipe_id": admission.recipe.id,
        "recipe_version": admission.recipe.version,
        "recipe_hash": admission.recipe.hash,
        "queue_partition_key": admission.queue_partition_key,
        "tenant_id": admission.tenant_id,
        "lane": str(admission.lane),
        "budget": admission.budget,
        "trace_id": admission.trace_id,
    }
    started_id = run_id(workflow_id)
    inserted = execute(
        connection,
        "runs.insert",
        {
            **incoming,
            "id": started_id,
            "workflow_id": workflow_id,
            "budget": None if admission.budget is None else Jsonb(admission.budget),
            "priority": admission.priority,
            "timeout_ms": admission.timeout_ms,
            "deduplication_id": admission.deduplication_id,
            "task_key": admission.task_key,
            "app_version": app_version,
            "submitted_by": submitter,
            "policy_id": policy and policy.version.id,
            "policy_version": policy and policy.version.version,
            "policy_sha256": policy and policy.version.sha256,
            "approval_rules": policy and Jsonb(policy.rules.to_json()),
        },
    )
    if not inserted:
        stored = get(connection, workflow_id)
        drift = [
            Drift(name, getattr(stored, name), incoming[name])
            for name in IDENTITY
            if not same_json(getattr(stored, name), incoming[name])
        ]
        if drift:
            raise IdentityDrift(workflow_id, drift)
        if stored.status is RunStatus.CANCELED:
            raise StartRefused(workflow_id)
    record_submission(connection, workflow_id, "start", submitter, channel)
    return Stored(started_id, not inserted)


def find(connection: Connection, run_reference: str) -> Run | None:
    """A run by its run id or workflow id; None when there is none."""
    return fetch_first(connection, "runs.get", Run, {"id": run_reference})


def get(connection: Connection, run_reference: str) -> Run:
    """A run by its run id or workflow id. Raises NotFound."""
    return _one(connection, "runs.get", run_reference)


def lock(connection: Connection, run_reference: str) -> Run:
    """A run by its run id or workflow id, its row locked until the transaction ends. Raises NotFound."""
    return _one(connection, "runs.get_locked", run_reference)


def page(connection: Connection, *, limit: int, before: str | None = None, status: str | None = None) -> list[Run]:
    """Runs, the newest first, that are older than the run with the id `before`."""
    return fetch_all(connection, "runs.page", Run, {"limit": limit, "before": before, "status": status})


def active(connection: Connection, limit: int) -> list[DescribedRun]:
    """Runs that are executed or about to be, the running ones first."""
    return fetch_all(connection, "runs.active", DescribedRun, {"limit": limit})


def count_active(connection: Connection, limit: int) -> int:
    """The number of the same runs, at most `limit`."""
    return int(fetch_value(connection, "runs.count_active", {"limit": limit}))


def finished(connection: Connection, limit: int) -> list[DescribedRun]:
    """Runs that have ended, the last one first."""
    return fetch_all(connection, "runs.finished", DescribedRun, {"limit": limit})


def count_by_status(connection: Connection) -> list[StatusCount]:
    """How many runs have each status."""
    return fetch_all(connection, "runs.count_by_status", StatusCount)


def move(
    connection: Connection,
    run: Run,
    status: RunStatus,
    *,
    error: str | None = None,
    next_action: str | None = None,
    next_segment: bool = False,
    cause: Cause | None = None,
) -> Run:
    """Change the status from the one `run` was read with; returns the run as it is then. Raises IllegalTransition.

    `next_segment`: a new queue workflow continues the run. Without `cause`, the engine made the change.
    """
    if not can_move(run.status, status):
        raise IllegalTransition(run.status, status)
    moved = fetch_first(
        connection,
        "runs.move",
        Run,
        {
            "id": run.id,
            "current": run.status,
            "status": status,
            "error": None if error is None else plain_message(error),
            "next_action": next_action,
            "segments": int(next_segment),
            "retries": int(status is RunStatus.REPAIRING),
            "cause": None if cause is None else Jsonb(asdict(cause)),
        },
    )
    if moved is None:
        raise IllegalTransition(get(connection, run.id).status, status)
    return moved


def set_error(connection: Connection, run_id: str, error: str) -> None:
    """Replace the error of a run that has ended, when its cleanup adds to it."""
    execute(connection, "runs.set_error", {"id": run_id, "error": plain_message(error)})


def set_next_action(connection: Connection, run: Run, action: str) -> None:
    """Record what a run waits for, if it waits. The caller has locked its row."""
    execute(connection, "runs.set_next_action", {"id": run.id, "next_action": action})


def timed_out(connection: Connection, limit: int) -> list[str]:
    """The ids of runs that have not ended within their `timeoutMS`, the oldest first, at most `limit`."""
    rows = fetch_all(connection, "runs.timed_out", TimedOutRun, {"limit": limit})
    return [row.id for row in rows]


def count_segment(connection: Connection, run: Run) -> Run:
    """Make the next segment the current one, of a locked run that did not end with its last segment."""
    return fetch_one(connection, "runs.count_segment", Run, {"id": run.id})


def set_last_step(connection: Connection, run: Run, step: StepId) -> None:
    """Record the last step that was committed."""
    execute(connection, "runs.set_last_step", {"id": run.id, "step_id": step})


def claim(connection: Connection, workflow_id: str, dagster_run_id: str) -> Run | None:
    """Make a Dagster run the owner of the intent; returns None when another one is."""
    key = {"workflow_id": workflow_id, "dagster_run_id": dagster_run_id}
    return fetch_first(connection, "runs.claim", Run, key)


def hand_over(connection: Connection, workflow_id: str, dagster_run_id: str) -> Run | None:
    """Portable profile: make the Dagster run after the decision the owner; returns None unless the run waits."""
    key = {"workflow_id": workflow_id, "dagster_run_id": dagster_run_id}
    return fetch_first(connection, "runs.hand_over", Run, key)


def _one(connection: Connection, statement: str, run_reference: str) -> Run:
    run = fetch_first(connection, statement, Run, {"id": run_reference})
    if run is None:
        raise NotFound("run not found")
    return run
