"""Response models of gates, plans, decisions and the inbox."""

from enum import StrEnum
from typing import Any

from pydantic import Field

from sisu_pipeline.api.schemas.run_schemas import Approvals, Count, RunHead, RunProgress, Time
from sisu_pipeline.contracts.base import Contract, absent
from sisu_pipeline.contracts.gate import Channel, TimeoutOutcome
from sisu_pipeline.contracts.planned_work import CompletePlan
from sisu_pipeline.contracts.sandbox_request import Mode, Sha256
from sisu_pipeline.contracts.step_outputs import PatchOp, Plan
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store.change_requests import RoundOutcome


class Form(Contract):
    """A question and the JSON Schema of its answer."""

    question: str
    """The question to a person."""
    # `schema` would hide a method of pydantic's.
    answer_schema: dict[str, Any] = Field(alias="schema")
    """JSON Schema of the answer."""
    fields: list[str]
    """Names of the answer's members, in the order of the form."""


class GateState(StrEnum):
    """State of a gate."""

    WAITING = "waiting"
    PLANNING = "planning"
    """Changes were requested, and a coding agent plans again; the gate accepts no decision."""
    PASSED = "passed"
    REJECTED = "rejected"
    TIMED_OUT = "timed_out"
    ENDED = "ended"
    """The run ended before a decision."""


class ChangeRound(Contract):
    """A request for changes, and what became of it."""

    round: Count
    """Number of the planning round; the first plan was round 1."""
    requested_by: str
    """Name of the person."""
    comment: str
    """What to change."""
    channel: Channel
    """How the request was made."""
    requested_at: Time
    """Time of the request."""
    plan_sha256: str = Field(alias="planSha256")
    """Hash of the plan that the changes were requested for."""
    outcome: RoundOutcome
    """`planning`, `planned` with a new version, or `failed`: the gate opened again for the same plan."""
    error: str | None
    """Reason of a failure; null without one."""
    version: int | None
    """Number of the version that the round led to; null without one."""


class ChangeRounds(Contract):
    """The requests for changes to a plan, and how many its recipe allows."""

    allowed: Count
    """How often people may request changes to the plan of this run."""
    rounds: list[ChangeRound]
    """Requests, in order."""


class GateEntry(Contract):
    """A gate of one run, or in the inbox."""

    run_id: str
    """Id of the run."""
    workflow_id: str
    """Id of the workflow, equal to the id of the intent."""
    gate_key: str
    """Key of the gate, unique in its run."""
    purpose: str
    """Purpose of the gate: the approval of a plan or a question."""
    goal: str
    """Goal of the run's intent; in the inbox, the beginning of a long one."""
    run_status: RunStatus
    """Status of the run."""
    tenant_id: str | None
    """Tenant of the run; null without one."""
    state: GateState
    """State of the gate."""
    plan_sha256: str = Field(alias="planSha256")
    """Hash of the plan at the gate."""
    opened_at: Time
    """Time at which the gate opened."""
    deadline_at: Time | None
    """Time at which the outcome `onTimeout` is recorded without a decision; null without a deadline."""
    on_timeout: TimeoutOutcome
    """Outcome of the gate when its deadline passes."""
    form: Form | None = Field(default=None, exclude_if=absent)
    """Question of an ask gate; absent at other gates."""
    approvals: Approvals | None = Field(default=None, exclude_if=absent)
    """Approvals so far; absent unless more are required."""
    decided_by: str | None = Field(default=None, exclude_if=absent)
    """Name of the person who decided; absent before a decision."""
    changes: ChangeRounds | None = Field(default=None, exclude_if=absent)
    """Requests for changes; absent in the inbox and at ask gates."""
    answer: dict[str, Any] | None = Field(default=None, exclude_if=absent)
    """Recorded answer; absent without one."""


class Stranded(Contract):
    """Work that waits for an application version that no worker runs."""

    app_version: str
    """Version that the work requires."""
    queue_name: str
    """Name of the queue."""
    enqueued: Count
    """Workflows that wait for a worker."""


class FileView(Contract):
    """A file without its content."""

    mode: Mode
    """Mode of the file."""
    bytes: Count
    """Size of the file in bytes."""
    sha256: Sha256
    """Hash of the content."""
    is_binary: bool
    """Whether the content is not text."""


class PatchView(Contract):
    """One patch of a plan, with the file before and after it."""

    target_path: str
    """Path of the file in the workspace; of a renamed file, the new path."""
    op: PatchOp
    """Effect on the file."""
    from_path: str | None
    """Old path of a renamed file; null for other patches."""
    old: FileView | None
    """File before the patch; null if the patch creates it."""
    new: FileView | None
    """File after the patch; null if the patch deletes it."""
    before: str | None
    """Text of the file before the patch; null for a new or binary file."""
    after: str | None
    """Text of the file after the patch; null for a deleted or binary file."""
    diff_text: str
    """The change as a unified diff, which `git apply` accepts; empty if the patch changes nothing."""
    remarks: list[str]
    """What a reader could overlook: line endings, a missing end of line, hidden characters."""


class PlanVersionView(Contract):
    """A later version of a plan, by a person or a coding agent, with the version it is based on."""

    version: Count
    """Number of the version."""
    plan_sha256: str = Field(alias="planSha256")
    """Hash of this version."""
    based_on_sha256: str = Field(alias="basedOnSha256")
    """Hash of the version before."""
    edited_by: str
    """Name of the editor; `sisu:agent` for a coding agent."""
    created_at: Time
    """Time of this version."""
    round: int | None
    """Number of the planning round of a coding agent; null for an edit."""
    requested_by: str | None
    """Name of the person who requested changes; null for an edit."""
    comment: str | None
    """What the person requested; null for an edit."""
    agent: str | None
    """Name and version of the coding agent, or its command; null for an edit, and for a recorded answer."""
    model: str | None
    """Name of the agent's model; null if it is unknown."""


class PlanView(Contract):
    """The plan that waits for approval. Version 1 is the planner's; `versions` lists the later ones."""

    run_id: str
    """Id of the run."""
    version: Count
    """Number of the current version."""
    plan_sha256: str = Field(alias="planSha256")
    """Hash of the current version: of the head of `complete`."""
    plan: Plan
    """Content of the current version."""
    complete: CompletePlan | None
    """Everything that is executed once the plan is approved; null for a plan that release 0.2.0 compiled."""
    patches: list[PatchView]
    """Patches of the plan with the files they change."""
    versions: list[PlanVersionView]
    """Later versions, in order."""


class InteractionView(Contract):
    """A decision, vote or answer at a gate."""

    gate_key: str
    """Key of the gate, unique in its run."""
    dedupe_key: str
    """Key that identifies a repeated request."""
    kind: str
    """Kind of the interaction, for example a decision or an answer."""
    actor: str
    """Name of the person."""
    plan_sha256: str | None = Field(alias="planSha256")
    """Hash of the plan that the interaction names; null if it names none."""
    payload: dict[str, Any]
    """Content of the request."""
    payload_hash: str
    """Hash of the content."""
    channel: Channel | None
    """How it was made; null for an interaction of release 0.2.0."""
    created_at: Time
    """Time of the interaction."""


class Interactions(Contract):
    """The interactions at a run's gates, in order; at most the first 500."""

    interactions: list[InteractionView]
    """Interactions, in order."""


class HistoryEvent(Contract):
    """One change of a run."""

    at: Time
    """Time of the change."""
    event: str
    """What happened: `submit`, `start`, a new status, `approve`, `reject`, `request-changes`, `answer`, `timeout`,
    `edit`, `revise`, `revise-failed`, `approved`, `rejected` or `reopen`."""
    person: str | None
    """Name of the person or of the part of the system; null where no token was required."""
    channel: str | None
    """How the change was made; null if it was not recorded."""
    reason: str | None
    """Reason, notes or cause; null without any."""
    plan_sha256: str | None = Field(alias="planSha256")
    """Hash of the plan that the change is about; null if it is about none."""


class History(Contract):
    """Who did what to a run, when, why and by which channel; at most the first 500 changes."""

    events: list[HistoryEvent]
    """Changes, in order."""


class Gates(Contract):
    """A run's gates, in the order they opened."""

    gates: list[GateEntry]
    """Gates, in the order they opened."""


class FinishedRun(RunHead):
    """A run that has ended, with its goal."""

    goal: str
    """Goal of the run's intent; in the inbox, the beginning of a long one."""
    outcome: str
    """Outcome in a few words for people, for example `failed: 1 of 14 tests`."""


class ActiveRun(RunProgress):
    """A run in progress, with its goal."""

    goal: str
    """Goal of the run's intent; in the inbox, the beginning of a long one."""


class Inbox(Contract):
    """Open gates, the most urgent first, with active, finished and stranded runs."""

    gates: list[GateEntry]
    """Open gates, the nearest deadline first; at most 200."""
    gate_count: Count
    """Number of all open gates; counted up to 10,000."""
    active: list[ActiveRun]
    """Runs in progress, the executing ones first; at most 12."""
    active_count: Count
    """Number of all runs in progress; counted up to 10,000."""
    finished: list[FinishedRun]
    """Newest runs that have ended; at most 12."""
    stranded: list[Stranded]
    """Work whose application version has no worker."""
    now: Time
    """Server's time, for countdowns."""
