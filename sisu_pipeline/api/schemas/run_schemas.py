"""Response models of the API. Request models are in `sisu_pipeline.contracts`."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer, WithJsonSchema

from sisu_pipeline.contracts.base import Contract, absent
from sisu_pipeline.contracts.gate import Channel, Decision, TimeoutOutcome
from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store.records import iso

Time = Annotated[
    datetime, PlainSerializer(iso, return_type=str), WithJsonSchema({"type": "string", "format": "date-time"})
]
Count = Annotated[int, Field(ge=0)]


class Approvals(Contract):
    """How many people have approved, of how many that must."""

    given: Count
    """People who have approved."""
    required: Count
    """Approvals that the plan requires."""


class Approved(Contract):
    """The recorded approval. A repetition returns the time of the first. With `approvals`, more are required."""

    accepted: Literal[True] = True
    """Always true."""
    run_id: str
    """Id of the run."""
    approved_at: Time
    """Time of the recorded approval."""
    approvals: Approvals | None = Field(default=None, exclude_if=absent)
    """Approvals so far; absent unless more are required."""


class Operated(Contract):
    """A run after an operation on it."""

    accepted: Literal[True] = True
    """Always true."""
    run_id: str
    """Id of the run."""
    status: RunStatus
    """Status of the run after the operation."""
    retry_count: int
    """Retries of the run so far."""


class Rejected(Contract):
    """The recorded rejection. A repetition returns the time of the first."""

    accepted: Literal[True] = True
    """Always true."""
    run_id: str
    """Id of the run."""
    rejected_at: Time
    """Time of the recorded rejection."""


class ChangesRequested(Contract):
    """The recorded request for changes. A repetition returns the first one."""

    accepted: Literal[True] = True
    """Always true."""
    run_id: str
    """Id of the run."""
    round: Count
    """Number of the planning round; the first plan was round 1."""
    requested_at: Time
    """Time of the recorded request."""


class Answered(Contract):
    """The recorded answer. A repetition returns the time of the first."""

    accepted: Literal[True] = True
    """Always true."""
    run_id: str
    """Id of the run."""
    gate_key: str
    """Key of the gate, unique in its run."""
    answered_at: Time
    """Time of the recorded answer."""


class RecipeRef(Contract):
    """A recipe's id and version."""

    id: str
    """Id of the recipe."""
    v: str
    """Version of the recipe."""


class PolicyRef(Contract):
    """The version of the approval policy that a run keeps from its start."""

    id: str
    """Id of the policy."""
    v: str
    """Version of the policy."""
    sha256: str = Field(alias="sha256")
    """Hash of the policy's content."""


class StepView(Contract):
    """A step's newest committed attempt."""

    step_id: StepId
    """Id of the step."""
    phase: str
    """Phase of the run that the step performs."""
    output: dict[str, Any]
    """Output of the step; its long texts and lists are cut."""
    output_is_cut: bool = Field(default=False, exclude_if=lambda is_cut: not is_cut)
    """Present if something is missing in the output: artifacts, the plan and the results have it."""
    attempt: int
    """Number of the attempt."""
    started_at: Time
    """Start of the attempt."""
    finished_at: Time
    """End of the attempt."""
    trace_id: str | None
    """Trace id of the attempt; null without one."""
    span_id: str | None
    """Span id of the attempt; null without one."""


class ArtifactView(Contract):
    """An artifact's card; `inline` only for a step's own small ones, the rest is at `GET /artifacts/{uri}`."""

    kind: str
    """Kind of the content, for example `plan_card` or `stdout`."""
    sha256: str = Field(alias="sha256")
    """Hash of the content."""
    uri: str
    """Address of the content: `artifact://run/…`."""
    step_id: str
    """Id of the step that recorded it."""
    task_key: str
    """Key of the task that produced it; empty for an artifact of the step itself."""
    size_bytes: Count
    """Size of the content in bytes."""
    inline: Any = Field(default=None, exclude_if=absent)
    """Content of a small artifact of a step; absent otherwise."""


class GateView(Contract):
    """The plan gate. `planSha256` is the hash of the plan that waits for approval now."""

    gate_key: str
    """Key of the gate, unique in its run."""
    plan_sha256: str = Field(alias="planSha256")
    """Hash of the plan that waits for approval."""
    opened_at: Time
    """Time at which the gate opened."""
    deadline_at: Time | None = Field(default=None, exclude_if=absent)
    """Time at which the outcome `onTimeout` is recorded without a decision."""
    on_timeout: TimeoutOutcome | None = Field(default=None, exclude_if=absent)
    """Outcome of the gate when its deadline passes."""


class VoteView(Contract):
    """An approval that the decision counts."""

    person: str
    """Name of the person who approved."""
    channel: Channel | None
    """How the approval was made; null for one of release 0.2.0."""
    plan_sha256: str = Field(alias="planSha256")
    """Hash of the approved plan."""
    voted_at: Time
    """Time of the approval."""
    record: str | None
    """Canonical JSON of the approval, which a signature covers; null for one of release 0.2.0."""


class DecisionView(Contract):
    """The decision on the plan."""

    decision: Decision
    """Approved or rejected."""
    decided_by: str
    """Name of the person who decided."""
    decided_at: Time
    """Time of the decision."""
    notes: str | None
    """Notes of the approval or reason of the rejection; null without any."""
    plan_sha256: str | None = Field(alias="planSha256")
    """Hash of the plan that was decided on; null until the gate opens."""
    channel: Channel | None
    """How the decision was made; null for a decision of release 0.2.0."""
    record: str | None
    """Canonical JSON of the decision, which a signature covers; null until the gate opens."""
    votes: list[VoteView]
    """Approvals that the decision counts, the first one first; empty for rejections, deadlines and policies."""


class TaskCounts(Contract):
    """Progress of the fan-out. `total` is absent before the tasks are known."""

    total: int | None = Field(default=None, exclude_if=absent)
    """Tasks of the run; absent before they are known."""
    finished: Count
    """Tasks that have ended, including failed ones."""
    failed: Count
    """Tasks that have failed."""


class RunHead(Contract):
    """A run in a list."""

    run_id: str
    """Id of the run."""
    workflow_id: str
    """Id of the workflow, equal to the id of the intent."""
    intent_id: str
    """Id of the intent, the hash of its content."""
    status: RunStatus
    """Status of the run."""
    last_step: StepId | None
    """Newest step with a committed result; null before the first."""
    error: str | None = Field(default=None, exclude_if=absent)
    """Cause of a failure; absent without one."""
    next_action: str | None = Field(default=None, exclude_if=absent)
    """Action that the run waits for or that its end suggests, for example `APPROVE_PLAN`; absent without one."""
    retry_count: Count
    """Retries of the run so far."""
    recipe_ref: RecipeRef
    """Recipe of the run."""
    recipe_hash: str
    """Hash of the recipe."""
    policy_ref: PolicyRef
    """Version of the approval policy of the run."""
    intent_hash: str
    """Hash of the intent: its id without the prefix."""
    trace_id: str | None
    """Trace id of the run request; null without one."""
    tenant_id: str | None
    """Tenant of the run; null without one."""
    queue_partition_key: str
    """Partition of the queue that executes the run."""
    deduplication_id: str | None = Field(default=None, alias="deduplicationID", exclude_if=absent)
    """`deduplicationID` of the start request."""
    task_key: str | None = Field(default=None, exclude_if=absent)
    """`taskKey` of the start request."""
    lane: str
    """Priority class: `interactive` or `batch`."""
    priority: Count
    """Priority within the queue partition; a lower number runs earlier."""
    dagster_run_id: str | None
    """Id of the Dagster run that executes it; null before the first."""
    created_at: Time
    """Time of the run request."""
    updated_at: Time
    """Time of the last change."""


class RunProgress(RunHead):
    """The progress of a run: its status, last step, gate and task counts."""

    gate: GateView | None
    """Approval gate of the plan; null before it opens."""
    decision: DecisionView | None
    """Decision on the plan; null before it is recorded."""
    tasks: TaskCounts
    """Progress of the tasks."""
    outcome: str | None = Field(default=None, exclude_if=absent)
    """Outcome in a few words for people, for example `failed: 1 of 14 tests`; absent until the run has ended."""
    waits_for: str | None = Field(default=None, exclude_if=absent)
    """Limit of its queue partition that the run waits for, and the setting behind it; absent without one."""


class RunPage(Contract):
    """Runs, the newest first. `nextBefore` is the next page's `before`; null on the last page."""

    runs: list[RunHead]
    """Runs of this page."""
    next_before: str | None
    """Value of `before` for the next page; null on the last one."""
