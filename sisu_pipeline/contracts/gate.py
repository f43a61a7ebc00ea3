"""Decisions and answers at gates, as requests contain them."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from sisu_pipeline.contracts.base import Contract
from sisu_pipeline.contracts.intent import Text
from sisu_pipeline.contracts.person_name import PersonName
from sisu_pipeline.contracts.sandbox_request import Sha256
from sisu_pipeline.contracts.step_outputs import Plan

DedupeKey = Annotated[str, Field(min_length=1, max_length=256)]

DEADLINE_ACTOR = "sisu:deadline"
"""The name under which a deadline decides."""


class Decision(StrEnum):
    """The two decisions about a plan."""

    APPROVED = "approved"
    REJECTED = "rejected"


class Channel(StrEnum):
    """How a decision or another change was made. The server sets it; no request contains it."""

    API = "api"
    INBOX = "inbox"
    CLI = "cli"
    DAGSTER = "dagster"
    DEADLINE = "deadline"
    POLICY = "policy"
    ENGINE = "engine"


class TimeoutOutcome(StrEnum):
    """The outcome of a gate whose deadline passes without a decision."""

    REJECT = "reject"
    APPROVE = "approve"


class PlanApprovalRequest(Contract):
    """Approve the plan; with `planSha256`, only that plan; with `plan`, your edited version of that plan."""

    model_config = ConfigDict(json_schema_extra={"dependentRequired": {"plan": ["planSha256"]}})

    approved_by: PersonName
    """Name of the approver; with tokens, the owner of the token replaces it."""
    notes: str | None = None
    """Notes on the approval."""
    plan_sha256: Sha256 | None = Field(default=None, alias="planSha256")
    """Hash of the plan to approve; another plan is a 409."""
    plan: Plan | None = None
    """Edited version of that plan; requires `planSha256`."""
    dedupe_key: DedupeKey | None = None
    """Key of the request; a repeated key returns the recorded result."""

    @model_validator(mode="after")
    def _names_what_it_changes(self) -> "PlanApprovalRequest":
        if self.plan is not None and self.plan_sha256 is None:
            raise ValueError("plan requires planSha256, the hash of the plan it is based on")
        return self


class PlanRejectionRequest(Contract):
    """Reject the plan, with a reason for the submitter."""

    rejected_by: PersonName
    """Name of the person who rejects; with tokens, the owner of the token replaces it."""
    reason: Text
    """Reason for the submitter."""
    plan_sha256: Sha256 | None = Field(default=None, alias="planSha256")
    """Hash of the plan to reject; another plan is a 409."""
    dedupe_key: DedupeKey | None = None
    """Key of the request; a repeated key returns the recorded result."""


class ChangesRequest(Contract):
    """Request changes to the plan: a coding agent plans again, and the gate opens for its plan."""

    requested_by: PersonName
    """Name of the person; with tokens, the owner of the token replaces it."""
    comment: Annotated[str, Field(min_length=1, max_length=10_000, pattern=r"[^ \t\n\r]")]
    """What to change, for the agent."""
    plan_sha256: Sha256 | None = Field(default=None, alias="planSha256")
    """Hash of the plan to change; another plan is a 409."""
    dedupe_key: DedupeKey | None = None
    """Key of the request; a repeated key returns the recorded result."""


class AnswerRequest(Contract):
    """Answer the question of an ask gate; `answer` must fit the gate's form."""

    answered_by: PersonName
    """Name of the person who answers; with tokens, the owner of the token replaces it."""
    answer: dict[str, Any]
    """Answer that fits the gate's form."""
    dedupe_key: DedupeKey | None = None
    """Key of the request; a repeated key returns the recorded result."""
