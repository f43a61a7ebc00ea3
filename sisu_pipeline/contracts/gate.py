"""What people say at gates (reference §B9, §B10, design §6)."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from sisu_pipeline.contracts.base import Contract
from sisu_pipeline.contracts.intent import Text
from sisu_pipeline.contracts.sandbox_request import Sha256
from sisu_pipeline.contracts.step_outputs import Plan

DedupeKey = Annotated[str, Field(min_length=1, max_length=256)]


class Decision(StrEnum):
    """The two ends of a plan gate."""

    APPROVED = "approved"
    REJECTED = "rejected"


class TimeoutOutcome(StrEnum):
    """What a gate's deadline decides when nobody else has."""

    REJECT = "reject"
    APPROVE = "approve"


class PlanApprovalRequest(Contract):
    """Approve the plan; with `planSha256`, only that plan; with `plan`, what you made of that plan."""

    model_config = ConfigDict(json_schema_extra={"dependentRequired": {"plan": ["planSha256"]}})

    approved_by: Text
    notes: str | None = None
    plan_sha256: Sha256 | None = Field(default=None, alias="planSha256")
    plan: Plan | None = None
    dedupe_key: DedupeKey | None = None

    @model_validator(mode="after")
    def _names_what_it_changes(self) -> "PlanApprovalRequest":
        if self.plan is not None and self.plan_sha256 is None:
            raise ValueError("a changed plan needs planSha256: the plan it was made of")
        return self


class PlanRejectionRequest(Contract):
    """Reject the plan, with a reason the submitter will read."""

    rejected_by: Text
    reason: Text
    plan_sha256: Sha256 | None = Field(default=None, alias="planSha256")
    dedupe_key: DedupeKey | None = None


class AnswerRequest(Contract):
    """Answer an ask gate; `answer` must fit the gate's form."""

    answered_by: Text
    answer: dict[str, Any]
    dedupe_key: DedupeKey | None = None
