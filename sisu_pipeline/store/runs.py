"""Runs: one per intent. The only module that writes a run's status."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from resources.database import Connection, Row
from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.domain.canonical import same_json
from sisu_pipeline.domain.errors import Drift, IdentityDrift, NotFound
from sisu_pipeline.domain.identity import run_id
from sisu_pipeline.domain.policy import Admission
from sisu_pipeline.domain.status import IllegalTransition, RunStatus, can_move
from sisu_pipeline.store.intents import Kept
from sql import query

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
    queue_name: str
    queue_partition_key: str
    priority: int
    lane: str
    tenant_id: str | None
    trace_id: str | None
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


_COLUMNS = tuple(field.name for field in fields(Run))


def from_row(row: Row) -> Run:
    """A run from a whole row of the table."""
    return Run(**{name: row[name] for name in _COLUMNS} | {"status": RunStatus(row["status"])})


def start(
    connection: Connection, workflow_id: str, admission: Admission, app_version: str, submitter: str | None = None
) -> Kept:
    """Insert the run of an intent; the row is the outbox. A repeat with the same identity is a replay.

    Raises IdentityDrift when the intent already runs under another identity (reference §A1).
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
    inserted = connection.execute(
        query("runs.insert"),
        {
            **incoming,
            "id": started_id,
            "workflow_id": workflow_id,
            "budget": None if admission.budget is None else Jsonb(admission.budget),
            "priority": admission.priority,
            "timeout_ms": admission.timeout_ms,
            "app_version": app_version,
            "submitted_by": submitter,
        },
    ).fetchone()
    if inserted is None:
        stored = get(connection, workflow_id)
        drift = [
            Drift(name, getattr(stored, name), incoming[name])
            for name in IDENTITY
            if not same_json(getattr(stored, name), incoming[name])
        ]
        if drift:
            raise IdentityDrift(workflow_id, drift)
    return Kept(started_id, inserted is None)


def get(connection: Connection, run_reference: str) -> Run:
    """A run by its run id or workflow id. Raises NotFound."""
    return _one(connection, "runs.get", run_reference)


def lock(connection: Connection, run_reference: str) -> Run:
    """The same, its row locked until the transaction ends."""
    return _one(connection, "runs.get_locked", run_reference)


def page(connection: Connection, *, limit: int, before: str | None = None, status: str | None = None) -> list[Run]:
    """The newest runs first; `before` is the run id the page starts after."""
    rows = connection.execute(query("runs.page"), {"limit": limit, "before": before, "status": status})
    return [from_row(row) for row in rows]


def move(
    connection: Connection,
    run: Run,
    status: RunStatus,
    *,
    error: str | None = None,
    next_action: str | None = None,
    next_segment: bool = False,
) -> Run:
    """Change the status, from the one `run` was read with. Raises IllegalTransition.

    `next_segment` ends the current segment: whatever continues this run is a new queue workflow.
    """
    if not can_move(run.status, status):
        raise IllegalTransition(run.status, status)
    repairing = status is RunStatus.REPAIRING
    row = connection.execute(
        query("runs.move"),
        {
            "id": run.id,
            "current": run.status,
            "status": status,
            "error": error,
            "next_action": next_action,
            "segments": int(next_segment),
            "retries": int(repairing),
        },
    ).fetchone()
    if row is None:
        raise IllegalTransition(get(connection, run.id).status, status)
    return from_row(row)


def count_segment(connection: Connection, run: Run) -> Run:
    """Count on to the next segment of a locked run whose current one was executed and did not end it."""
    row = connection.execute(query("runs.count_segment"), {"id": run.id}).fetchone()
    assert row is not None
    return from_row(row)


def set_last_step(connection: Connection, run: Run, step: StepId) -> None:
    """Remember the last step committed."""
    connection.execute(query("runs.set_last_step"), {"id": run.id, "step_id": step})


def claim(connection: Connection, workflow_id: str, dagster_run_id: str) -> Run | None:
    """Make a Dagster run the owner of the intent; None when another one is."""
    return _claimed(connection, "runs.claim", workflow_id, dagster_run_id)


def hand_over(connection: Connection, workflow_id: str, dagster_run_id: str) -> Run | None:
    """Portable profile: the run after the decision becomes the owner; None unless the run waits."""
    return _claimed(connection, "runs.hand_over", workflow_id, dagster_run_id)


def _claimed(connection: Connection, statement: str, workflow_id: str, dagster_run_id: str) -> Run | None:
    row = connection.execute(
        query(statement), {"workflow_id": workflow_id, "dagster_run_id": dagster_run_id}
    ).fetchone()
    return None if row is None else from_row(row)


def _one(connection: Connection, statement: str, run_reference: str) -> Run:
    row = connection.execute(query(statement), {"id": run_reference}).fetchone()
    if row is None:
        raise NotFound("run not found")
    return from_row(row)
