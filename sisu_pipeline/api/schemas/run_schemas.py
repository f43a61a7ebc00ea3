"""Response models of the API. Request models are in `sisu_pipeline.contracts`."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer, WithJsonSchema

from sisu_pipeline.contracts.access import Role
from sisu_pipeline.contracts.base import Contract
from sisu_pipeline.contracts.gate import Decision, TimeoutOutcome
from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.domain.status import RunStatus


def iso(time: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and Z, as `2025-01-31T09:30:00.000Z`."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def absent(value: object) -> bool:
    return value is None


Time = Annotated[
    datetime, PlainSerializer(iso, return_type=str), WithJsonSchema({"type": "string", "format": "date-time"})
]
Count = Annotated[int, Field(ge=0)]


class Health(Contract):
    """The process is alive. The state of the database is not included."""

    ok: Literal[True] = True


class Session(Contract):
    """The caller: owner and roles of the token; null and every role while no token is required."""

    owner: str | None
    roles: list[Role]
    dagster_url: str
    app_version: str


class IntentKept(Contract):
    """An intent's id; `isReplay` when the same content was there before."""

    intent_id: str
    is_replay: bool


class RunStarted(Contract):
    """The run of an intent. `isReplay` is true if it was started before with the same identity."""

    run_id: str
    workflow_id: str
    is_replay: bool


class Approvals(Contract):
    """How many people have approved, of how many that must."""

    given: Count
    required: Count


class Approved(Contract):
    """The recorded approval. A repetition returns the time of the first. With `approvals`, more are required."""

    accepted: Literal[True] = True
    run_id: str
    approved_at: Time
    approvals: Approvals | None = Field(default=None, exclude_if=absent)


class Operated(Contract):
    """A run after an operation on it."""

    accepted: Literal[True] = True
    run_id: str
    status: RunStatus
    retry_count: int


class Rejected(Contract):
    """The recorded rejection. A repetition returns the time of the first."""

    accepted: Literal[True] = True
    run_id: str
    rejected_at: Time


class Answered(Contract):
    """The recorded answer. A repetition returns the time of the first."""

    accepted: Literal[True] = True
    run_id: str
    gate_key: str
    answered_at: Time


class RecipeRef(Contract):
    """A recipe's id and version."""

    id: str
    v: str


class StepView(Contract):
    """A step's newest committed attempt."""

    step_id: StepId
    phase: str
    output: dict[str, Any]
    attempt: int
    started_at: Time
    finished_at: Time
    trace_id: str | None
    span_id: str | None


class ArtifactView(Contract):
    """An artifact's card; `inline` only for a step's own small ones, the rest is at `GET /artifacts/{uri}`."""

    kind: str
    sha256: str = Field(alias="sha256")
    uri: str
    step_id: str
    task_key: str
    size_bytes: Count
    inline: Any = Field(default=None, exclude_if=absent)


class GateView(Contract):
    """The plan gate. `planSha256` is the hash of the plan that waits for approval now."""

    gate_key: str
    plan_sha256: str = Field(alias="planSha256")
    opened_at: Time
    deadline_at: Time | None = Field(default=None, exclude_if=absent)
    on_timeout: TimeoutOutcome | None = Field(default=None, exclude_if=absent)


class DecisionView(Contract):
    """The decision on the plan."""

    decision: Decision
    decided_by: str
    decided_at: Time
    notes: str | None
    plan_sha256: str | None = Field(alias="planSha256")


class TaskCounts(Contract):
    """Progress of the fan-out. `total` is absent before the tasks are known."""

    total: int | None = Field(default=None, exclude_if=absent)
    finished: Count
    failed: Count


class RunHead(Contract):
    """A run in a list."""

    run_id: str
    workflow_id: str
    intent_id: str
    status: RunStatus
    last_step: StepId | None
    error: str | None = Field(default=None, exclude_if=absent)
    next_action: str | None = Field(default=None, exclude_if=absent)
    retry_count: Count
    recipe_ref: RecipeRef
    recipe_hash: str
    intent_hash: str
    trace_id: str | None
    tenant_id: str | None
    queue_partition_key: str
    lane: str
    priority: Count
    dagster_run_id: str | None
    created_at: Time
    updated_at: Time


class RunProgress(RunHead):
    """The progress of a run: its status, last step, gate and task counts."""

    gate: GateView | None
    decision: DecisionView | None
    tasks: TaskCounts


class RunView(RunProgress):
    """All details of a run, with at most its first 1,000 artifacts."""

    steps: list[StepView]
    artifacts: list[ArtifactView]
    artifact_count: Count


class RunPage(Contract):
    """Runs, the newest first. `nextBefore` is the next page's `before`; null on the last page."""

    runs: list[RunHead]
    next_before: str | None


class QueueDepthRow(Contract):
    """Work of one status on one queue. Times are milliseconds since 1970."""

    queue_name: str
    status: str
    workflow_count: Count
    oldest_created_at: int | None
    newest_created_at: int | None


class RunCount(Contract):
    """The number of runs of a status, with the creation of the oldest in milliseconds since 1970."""

    status: RunStatus
    count: Count
    oldest_created_at: int | None


class VersionDepth(Contract):
    """Work of one application version. Only workers of that version execute it."""

    app_version: str
    queue_name: str
    enqueued: Count
    pending: Count


class QueueDepth(Contract):
    """Queued work: by queue, by status of the run, by application version."""

    queues: list[QueueDepthRow]
    runs: list[RunCount]
    versions: list[VersionDepth]


class Detail(Contract):
    """One reason; `pointer` is a JSON pointer into the request (RFC 6901)."""

    pointer: str
    message: str


class Problem(Contract):
    """The body of every error response."""

    error: str
    code: str
    details: list[Detail]


class InternalError(Contract):
    """The body of every 500; the cause is in the server's log."""

    error: Literal["internal error"] = "internal error"
