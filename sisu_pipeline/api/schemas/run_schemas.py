"""What the API answers (reference §B4, design §6). What it accepts is in `sisu_pipeline.contracts`."""

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
    """The process answers; it says nothing about the database."""

    ok: Literal[True] = True


class Session(Contract):
    """Who asks: the token's owner and roles, null and all of them where no token is needed."""

    owner: str | None
    roles: list[Role]
    dagster_url: str
    app_version: str


class IntentKept(Contract):
    """An intent's id; `isReplay` when the same content was there before."""

    intent_id: str
    is_replay: bool


class RunStarted(Contract):
    """The run of an intent; `isReplay` when it was started before with the same identity."""

    run_id: str
    workflow_id: str
    is_replay: bool


class Approvals(Contract):
    """How many people have approved, of how many that must."""

    given: Count
    required: Count


class Approved(Contract):
    """The approval that stands; on a repeat, the first one's time. With `approvals`, others must still join it."""

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
    """The rejection that stands; on a repeat, the first one's time."""

    accepted: Literal[True] = True
    run_id: str
    rejected_at: Time


class Answered(Contract):
    """The answer that stands; on a repeat, the first one's time."""

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
    """The plan gate: what a person is asked to decide about; `planSha256` is of the plan as it is now."""

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
    """How far the fan-out is; `total` is absent before the decision says what to execute."""

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
    """A run as it is watched: where it is, whom it waits for."""

    gate: GateView | None
    decision: DecisionView | None
    tasks: TaskCounts


class RunView(RunProgress):
    """Everything about a run; of its artifacts the first 1,000."""

    steps: list[StepView]
    artifacts: list[ArtifactView]
    artifact_count: Count


class RunPage(Contract):
    """The newest runs first; `nextBefore` is the next page's `before`, null on the last page."""

    runs: list[RunHead]
    next_before: str | None


class QueueDepthRow(Contract):
    """Work of one state on one queue; times in milliseconds since 1970."""

    queue_name: str
    status: str
    workflow_count: Count
    oldest_created_at: int | None
    newest_created_at: int | None


class RunCount(Contract):
    """How many runs are in a state; the oldest one's creation in milliseconds since 1970."""

    status: RunStatus
    count: Count
    oldest_created_at: int | None


class VersionDepth(Contract):
    """Work stamped with an application version; only workers of that version take it."""

    app_version: str
    queue_name: str
    enqueued: Count
    pending: Count


class QueueDepth(Contract):
    """What waits: on DBOS's queues, by state of the run, by application version."""

    queues: list[QueueDepthRow]
    runs: list[RunCount]
    versions: list[VersionDepth]


class Detail(Contract):
    """One reason; `pointer` is a JSON pointer into the request (RFC 6901)."""

    pointer: str
    message: str


class Problem(Contract):
    """Every refusal's body."""

    error: str
    code: str
    details: list[Detail]


class InternalError(Contract):
    """The body of every 500; the cause is in the server's log."""

    error: Literal["internal error"] = "internal error"
