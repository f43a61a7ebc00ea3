"""A person's decision on a plan (reference §B9, design §6)."""

from enum import StrEnum

from pydantic import Field

from sisu_pipeline.contracts.base import Contract
from sisu_pipeline.contracts.intent import Text
from sisu_pipeline.contracts.sandbox import Sha256


class Decision(StrEnum):
    """The two ends of a plan gate."""

    APPROVED = "approved"
    REJECTED = "rejected"


class PlanApprovalRequest(Contract):
    """Approve the plan; with `planSha256`, only that plan."""

    approved_by: Text
    notes: str | None = None
    plan_sha256: Sha256 | None = Field(default=None, alias="planSha256")


class PlanRejectionRequest(Contract):
    """Reject the plan, with a reason the submitter will read."""

    rejected_by: Text
    reason: Text
    plan_sha256: Sha256 | None = Field(default=None, alias="planSha256")
