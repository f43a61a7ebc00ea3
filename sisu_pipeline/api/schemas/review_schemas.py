"""Response models of what people find and share: lists of open gates, assignments, delegations, histories."""

from sisu_pipeline.api.schemas.gate_schemas import GateEntry
from sisu_pipeline.api.schemas.run_schemas import Count, Time
from sisu_pipeline.contracts.base import Contract


class AskedPeople(Contract):
    """Who is asked to decide: those the run is assigned to, or else the approvers whom intent or policy name."""

    people: list[str]
    """Names of people."""
    groups: list[str]
    """Groups of people."""
    delegates: list[str]
    """People who stand in now for one of `people`."""
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
