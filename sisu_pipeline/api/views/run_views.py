"""What the API shows, from rows."""

from datetime import datetime
from typing import Any

from resources.database import Connection, Row
from sisu_pipeline.api.http.query_parameters import RunsQuery
from sisu_pipeline.api.schemas.run_schemas import (
    ArtifactView,
    DecisionView,
    GateView,
    QueueDepth,
    QueueDepthRow,
    RecipeRef,
    RunCount,
    RunHead,
    RunPage,
    RunProgress,
    RunView,
    StepView,
    TaskCounts,
    VersionDepth,
)
from sisu_pipeline.contracts.gate import TimeoutOutcome
from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.steps.step_result import PLAN_GATE
from sisu_pipeline.store import gates, plans, runs
from sisu_pipeline.store.outputs.artifacts import INLINE_LIMIT
from sisu_pipeline.store.runs import Run
from sisu_pipeline.workflow.commands import checked_reference
from sql import query

MAX_ARTIFACTS = 1000


def run_view(connection: Connection, run_reference: str) -> RunView:
    """Everything about a run, by run id or workflow id. Raises NotFound."""
    run = runs.get(connection, checked_reference(run_reference))
    key = {"run_id": run.id}
    listed = {**key, "limit": MAX_ARTIFACTS, "inline_limit": INLINE_LIMIT}
    return RunView(
        **progress(connection, run),
        steps=[step_view(row) for row in connection.execute(query("steps.of_run"), key)],
        artifacts=[artifact_view(row) for row in connection.execute(query("views.artifacts"), listed)],
        artifact_count=one(connection, "artifacts.count_of_run", key)["count"],
    )


def run_progress(connection: Connection, run_reference: str) -> RunProgress:
    """Where a run is, by run id or workflow id. Raises NotFound."""
    return RunProgress(**progress(connection, runs.get(connection, checked_reference(run_reference))))


def run_page(connection: Connection, wanted: RunsQuery) -> RunPage:
    """A page of runs. Raises NotFound when there is no run `before`."""
    if wanted.before is not None:
        runs.get(connection, wanted.before)
    # One more than asked for says whether a page follows.
    found = runs.page(connection, limit=wanted.limit + 1, before=wanted.before, status=wanted.status)
    page = found[: wanted.limit]
    follows = len(found) > len(page)
    return RunPage(runs=[RunHead(**head(run)) for run in page], next_before=page[-1].id if follows else None)


def queue_depth(connection: Connection) -> QueueDepth:
    """What waits where; no queues and versions before DBOS has made its tables."""
    queues: list[Row] = []
    versions: list[Row] = []
    if one(connection, "queues.exists", {})["exists"]:
        queues = connection.execute(query("queues.depth")).fetchall()
        versions = connection.execute(query("queues.versions")).fetchall()
    counts = connection.execute(query("runs.depth")).fetchall()
    return QueueDepth(
        queues=[QueueDepthRow(**row) for row in queues],
        runs=[
            RunCount(
                status=RunStatus(row["status"]),
                count=row["runs"],
                oldest_created_at=_milliseconds(row["oldest_created_at"]),
            )
            for row in counts
        ],
        versions=[VersionDepth(**row) for row in versions],
    )


def head(run: Run) -> dict[str, Any]:
    """The fields of RunHead."""
    return {
        "run_id": run.id,
        "workflow_id": run.workflow_id,
        "intent_id": run.intent_id,
        "status": run.status,
        "last_step": None if run.last_step is None else StepId(run.last_step),
        "error": run.error,
        "next_action": run.next_action,
        "retry_count": run.retry_count,
        "recipe_ref": RecipeRef(id=run.recipe_id, v=str(run.recipe_version)),
        "recipe_hash": run.recipe_hash,
        "intent_hash": run.intent_id.removeprefix("ih_"),
        "trace_id": run.trace_id,
        "tenant_id": run.tenant_id,
        "queue_partition_key": run.queue_partition_key,
        "lane": run.lane,
        "priority": run.priority,
        "dagster_run_id": run.dagster_run_id,
        "created_at": run.created_at,
        "updated_at": run.updated_at,
    }


def step_view(row: Row) -> StepView:
    """A step from a row of `steps.of_run`."""
    return StepView(**{**row, "step_id": StepId(row["step_id"])})


def artifact_view(row: Row) -> ArtifactView:
    """An artifact from a row of `views.artifacts`."""
    return ArtifactView(**row)


def gate_view(rows: list[Row], edited_sha256: str | None = None) -> GateView | None:
    """The plan gate among a run's gates; None before it opens."""
    opened = [row for row in rows if row["purpose"] == PLAN_GATE]
    if not opened:
        return None
    row = opened[0]
    return GateView(
        gate_key=row["gate_key"],
        plan_sha256=edited_sha256 or row["plan_sha256"],
        opened_at=row["created_at"],
        deadline_at=row["deadline_at"],
        on_timeout=TimeoutOutcome(row["on_timeout"]),
    )


def progress(connection: Connection, run: Run) -> dict[str, Any]:
    """The fields of RunProgress."""
    key = {"run_id": run.id}
    return {
        **head(run),
        "gate": gate_view(gates.of_run(connection, run.id), plans.edited_hash(connection, run.id)),
        "decision": _decision(connection, run),
        "tasks": TaskCounts(**one(connection, "views.tasks", key)),
    }


def _decision(connection: Connection, run: Run) -> DecisionView | None:
    decided = gates.decision(connection, run.id)
    if decided is None:
        return None
    return DecisionView(
        decision=decided.decision,
        decided_by=decided.decided_by,
        decided_at=decided.decided_at,
        notes=decided.notes,
        plan_sha256=decided.plan_sha256,
    )


def one(connection: Connection, name: str, parameters: dict[str, Any]) -> Row:
    row = connection.execute(query(name), parameters).fetchone()
    assert row is not None, f"{name} always returns a row"
    return row


def _milliseconds(time: datetime | None) -> int | None:
    return None if time is None else int(time.timestamp() * 1000)
