"""Requests to decide about many plans, to assign a run to people, and to name a substitute."""

from typing import Annotated, Self

from pydantic import AwareDatetime, Field, model_validator

from sisu_pipeline.contracts.approval_policy import GroupName
from sisu_pipeline.contracts.base import Contract
from sisu_pipeline.contracts.gate import Decision, DedupeKey, PlanApprovalRequest, PlanRejectionRequest
from sisu_pipeline.contracts.person_name import PersonName
from sisu_pipeline.contracts.sandbox_request import Sha256

MOST_DECISIONS = 200
Reason = Annotated[str, Field(max_length=2000)]


class PlanReference(Contract):
    """A plan that was read: its run and its hash."""

    run_id: Annotated[str, Field(min_length=1, max_length=100)]
    """Id of the run or of its intent."""
    plan_sha256: Sha256 = Field(alias="planSha256")
    """Hash of the plan to decide about; another plan is refused."""
    dedupe_key: DedupeKey | None = None
    """Key of the decision; a repeated key returns the recorded result."""


class DecisionsRequest(Contract):
    """Approve or reject many plans. Each is decided by itself: the result of one does not depend on another."""

    decision: Decision
    """The decision about each plan."""
    decided_by: PersonName
    """Name of the person who decides; with tokens, the owner of the token replaces it."""
    reason: Reason | None = None
    """Reason of a rejection, which it requires, or notes on an approval."""
    plans: Annotated[list[PlanReference], Field(min_length=1, max_length=MOST_DECISIONS)]
    """The plans, each run once."""

    @model_validator(mode="after")
    def _names_each_run_once_and_a_reason(self) -> Self:
        if len({each.run_id for each in self.plans}) < len(self.plans):
            raise ValueError("name each run once")
        if self.decision is Decision.REJECTED and not (self.reason or "").strip():
            raise ValueError("a rejection requires a reason")
        return self

    def requests(self) -> list[tuple[str, PlanApprovalRequest | PlanRejectionRequest]]:
        """The reference of each run with the request that decides about its plan alone."""
        return [(each.run_id, self._request(each)) for each in self.plans]

    def _request(self, plan: PlanReference) -> PlanApprovalRequest | PlanRejectionRequest:
        if self.decision is Decision.REJECTED:
            return PlanRejectionRequest(
                rejected_by=self.decided_by,
                reason=self.reason or "",
                plan_sha256=plan.plan_sha256,
                dedupe_key=plan.dedupe_key,
            )
        return PlanApprovalRequest(
            approved_by=self.decided_by,
            notes=self.reason,
            plan_sha256=plan.plan_sha256,
            dedupe_key=plan.dedupe_key,
        )


class AssignmentRequest(Contract):
    """Ask people and groups to decide about a run, in place of those who were asked before."""

    assigned_by: PersonName
    """Name of the person who assigns; with tokens, the owner of the token replaces it."""
    people: list[PersonName] = Field(default=[], max_length=50)
    """Names of people; with no people and no groups, the run is assigned to no one."""
    groups: list[GroupName] = Field(default=[], max_length=50)
    """Groups of people."""
    reason: Reason = ""
    """Reason for the assignment."""

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        if any(len(set(names)) < len(names) for names in (self.people, self.groups)):
            raise ValueError("name each person and each group once")
        return self


class DelegationRequest(Contract):
    """Name a substitute for a person who is away, in place of what was recorded for that person before."""

    recorded_by: PersonName
    """Name of the person who records it; with tokens, the owner of the token replaces it."""
    person: PersonName | None = None
    """The person who is away; by default the one who records it. For another person it needs the role operator."""
    delegate: PersonName | None = None
    """Name of the colleague; null: the person is back."""
    begins_at: AwareDatetime | None = None
    """First moment of the absence; by default now."""
    ends_at: AwareDatetime | None = None
    """End of the absence; required with a delegate."""
    reason: Reason = ""
    """Reason for the absence, which others can read."""

    @model_validator(mode="after")
    def _is_a_period(self) -> Self:
        if self.delegate is not None and self.ends_at is None:
            raise ValueError("a delegation requires endsAt, the end of the absence")
        if self.delegate is None and self.ends_at is not None:
            raise ValueError("endsAt requires a delegate: a person who is back is not away")
        if self.begins_at is not None and self.ends_at is not None and self.begins_at >= self.ends_at:
            raise ValueError("endsAt must be after beginsAt")
        if self.delegate is not None and self.delegate == (self.person or self.recorded_by):
            raise ValueError("a person cannot be their own substitute")
        return self
