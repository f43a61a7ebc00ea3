"""Who is asked to decide about runs, and who substitutes for people who are away. Neither gives a right."""

from dataclasses import dataclass
from datetime import datetime

from resources.database import Connection
from sisu_pipeline.contracts.gate import Channel
from sisu_pipeline.store import runs
from sisu_pipeline.store.records import fetch_all, fetch_first, fetch_one


@dataclass(frozen=True)
class NewAssignment:
    """The people and groups whom a run is assigned to; with neither, it is assigned to no one."""

    run_id: str
    people: list[str]
    groups: list[str]
    reason: str
    assigned_by: str
    channel: Channel

    def is_like(self, other: "NewAssignment") -> bool:
        """Whether the other one asks the same people and groups."""
        return set(self.people) == set(other.people) and set(self.groups) == set(other.groups)


@dataclass(frozen=True)
class Assignment(NewAssignment):
    """An assignment as it is stored."""

    number: int
    assigned_at: datetime


@dataclass(frozen=True)
class NewDelegation:
    """The substitute of a person, and when. Without a delegate the person is back; None begins now."""

    person: str
    delegate: str | None
    begins_at: datetime | None
    ends_at: datetime | None
    reason: str
    recorded_by: str
    channel: Channel


@dataclass(frozen=True)
class Delegation:
    """A delegation as it is stored."""

    person: str
    delegate: str | None
    begins_at: datetime
    ends_at: datetime
    reason: str
    recorded_by: str
    channel: Channel
    recorded_at: datetime


def assign(connection: Connection, wanted: NewAssignment) -> Assignment:
    """Assign a run. Idempotent: if it is assigned to the same already, that assignment is returned.

    Raises NotFound.
    """
    run = runs.lock(connection, wanted.run_id)
    current = fetch_first(connection, "review.assignment", Assignment, {"run_id": run.id})
    if current is not None and current.is_like(wanted):
        return current
    return fetch_one(connection, "review.assign", Assignment, vars(wanted))


def delegate(connection: Connection, wanted: NewDelegation) -> Delegation | None:
    """Record who substitutes for a person from now on, or that the person is back.

    None, and no row, if the absence would be over when it begins.
    """
    return fetch_first(connection, "review.delegate", Delegation, vars(wanted))


def delegations(connection: Connection) -> list[Delegation]:
    """The delegations that count now or later, by person."""
    return fetch_all(connection, "review.delegations", Delegation)
