"""Response models of gates, plans, decisions and the inbox."""

from enum import StrEnum
from typing import Any

from pydantic import Field

from sisu_pipeline.api.schemas.run_schemas import Approvals, Count, RunHead, RunProgress, Time, absent
from sisu_pipeline.contracts.base import Contract
from sisu_pipeline.contracts.gate import TimeoutOutcome
from sisu_pipeline.contracts.step_outputs import Plan
from sisu_pipeline.domain.status import RunStatus


class Form(Contract):
    """A question and the JSON Schema of its answer."""

    question: str
    # `schema` would hide a method of pydantic's.
    answer_schema: dict[str, Any] = Field(alias="schema")


class GateState(StrEnum):
    """Where a gate is."""

    WAITING = "waiting"
    PASSED = "passed"
    REJECTED = "rejected"
    TIMED_OUT = "timed_out"
    ENDED = "ended"
    """Its run ended before anybody decided."""


class GateEntry(Contract):
    """A gate of one run, or in the inbox."""

    run_id: str
    workflow_id: str
    gate_key: str
    purpose: str
    goal: str
    run_status: RunStatus
    tenant_id: str | None
    state: GateState
    plan_sha256: str = Field(alias="planSha256")
    opened_at: Time
    deadline_at: Time | None
    on_timeout: TimeoutOutcome
    form: Form | None = Field(default=None, exclude_if=absent)
    approvals: Approvals | None = Field(default=None, exclude_if=absent)
    decided_by: str | None = Field(default=None, exclude_if=absent)
    answer: dict[str, Any] | None = Field(default=None, exclude_if=absent)


class Stranded(Contract):
    """Work that waits for an application version that no worker runs."""

    app_version: str
    queue_name: str
    enqueued: Count


class PatchView(Contract):
    """One patch of a plan: the file before (null if it is new or binary) and after."""

    target_path: str
    before: str | None
    after: str
    diff_text: str


class PlanVersionView(Contract):
    """An edited version of a plan, with the version it is based on."""

    version: Count
    plan_sha256: str = Field(alias="planSha256")
    based_on_sha256: str = Field(alias="basedOnSha256")
    edited_by: str
    created_at: Time


class PlanView(Contract):
    """The plan that waits for approval. Version 1 is the planner's; `versions` lists the edited ones."""

    run_id: str
    version: Count
    plan_sha256: str = Field(alias="planSha256")
    plan: Plan
    patches: list[PatchView]
    versions: list[PlanVersionView]


class InteractionView(Contract):
    """A decision, vote or answer at a gate."""

    gate_key: str
    dedupe_key: str
    kind: str
    actor: str
    plan_sha256: str | None = Field(alias="planSha256")
    payload: dict[str, Any]
    payload_hash: str
    created_at: Time


class Interactions(Contract):
    """The interactions at a run's gates, in order; at most the first 500."""

    interactions: list[InteractionView]


class Gates(Contract):
    """A run's gates, in the order they opened."""

    gates: list[GateEntry]


class FinishedRun(RunHead):
    """A run that has ended, and what it was for."""

    goal: str


class ActiveRun(RunProgress):
    """A run in progress, with its goal."""

    goal: str


class Inbox(Contract):
    """What waits for people, the most pressing first; what runs, what has ended, what waits for no worker."""

    gates: list[GateEntry]
    active: list[ActiveRun]
    finished: list[FinishedRun]
    stranded: list[Stranded]
    now: Time
