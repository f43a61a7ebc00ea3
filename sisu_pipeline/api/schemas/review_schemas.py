"""Response models of what people find and share: lists of open gates, assignments, delegations, histories."""

from enum import StrEnum

from pydantic import Field

from sisu_pipeline.api.schemas.gate_schemas import GateEntry, HistoryEvent
from sisu_pipeline.api.schemas.problem_schemas import Problem
from sisu_pipeline.api.schemas.run_schemas import Approvals, Count, Time
from sisu_pipeline.contracts.base import Contract, absent
from sisu_pipeline.contracts.gate import Channel


class AskedPeople(Contract):
    """Who is asked to decide: those the run is assigned to, or else the approvers whom intent or policy name."""

    people: list[str]
    """Names of people."""
    groups: list[str]
    """Groups of people."""
    delegates: list[str]
    """People who substitute now for one of `people`."""
    assigned_by: str | None
    """Name of the person who assigned the run; null without an assignment."""
    assigned_at: Time | None
    """Time of the assignment; null without one."""


class OpenGateEntry(GateEntry):
    """An open gate with what a list of many shows."""

    recipe: str
    """Name and version of the run's recipe, for example `sandbox-default@1`."""
    submitters: list[str]
    """People who submitted the intent or started its run; empty where no token was required."""
    asked: AskedPeople
    """Who is asked to decide. It gives no right: the policy determines who may."""


class OpenGates(Contract):
    """A page of the open gates that match, the nearest deadline first."""

    gates: list[OpenGateEntry]
    """Gates of this page."""
    count: Count
    """Number of all open gates that match."""
    next_cursor: str | None
    """Cursor of the next page; null on the last one."""
    now: Time
    """Server's time, for countdowns."""


class ItemOutcome(StrEnum):
    """What became of one decision of many."""

    APPROVED = "approved"
    REJECTED = "rejected"
    PENDING = "pending"
    """The approval is recorded, and the plan requires further ones."""
    REFUSED = "refused"
    """Nothing was recorded."""


class ItemResult(Contract):
    """The result of one decision of many."""

    run_id: str
    """Id of the run, as in the request."""
    outcome: ItemOutcome
    """What became of the decision."""
    decided_at: Time | None
    """Time of the recorded decision or approval; null for one that was refused."""
    approvals: Approvals | None = Field(default=None, exclude_if=absent)
    """Approvals so far; absent unless more are required."""
    problem: Problem | None = Field(default=None, exclude_if=absent)
    """Why the decision was refused, as the request about this plan alone would state it; absent otherwise."""


class DecisionResults(Contract):
    """The results of many decisions, in the order of the request."""

    results: list[ItemResult]
    """One result per plan."""
    recorded: Count
    """Number of decisions and approvals that are recorded."""
    refused: Count
    """Number of decisions that were refused."""


class Assigned(Contract):
    """Who a run is assigned to. A repetition returns the recorded assignment."""

    run_id: str
    """Id of the run."""
    people: list[str]
    """Names of people."""
    groups: list[str]
    """Groups of people."""
    reason: str
    """Reason for the assignment; may be empty."""
    assigned_by: str
    """Name of the person who assigned the run."""
    assigned_at: Time
    """Time of the assignment."""


class DelegationView(Contract):
    """The substitute of a person who is away."""

    person: str
    """The person who is away."""
    delegate: str | None
    """The colleague; null: the person is back."""
    begins_at: Time
    """First moment of the absence."""
    ends_at: Time
    """End of the absence."""
    reason: str
    """Reason for the absence; may be empty."""
    recorded_by: str
    """Name of the person who recorded it."""
    channel: Channel
    """How it was recorded."""
    recorded_at: Time
    """Time of the record."""


class Delegations(Contract):
    """The delegations that count now or later, by person."""

    delegations: list[DelegationView]
    """Delegations, at most one per person."""


class RunChange(HistoryEvent):
    """One change of a run, in the history of all runs."""

    run_id: str
    """Id of the run."""
    workflow_id: str
    """Id of the workflow, equal to the id of the intent."""
    goal: str
    """Beginning of the goal of the run's intent."""
    tenant_id: str | None
    """Tenant of the run; null without one."""


class RunChanges(Contract):
    """A page of the changes of all runs that match, the newest first."""

    events: list[RunChange]
    """Changes of this page."""
    next_cursor: str | None
    """Cursor of the next page; null on the last one."""
