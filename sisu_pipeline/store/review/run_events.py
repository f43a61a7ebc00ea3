"""The history of all runs that match a filter, page by page."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from resources.database import Connection
from sisu_pipeline.store.interactions import RunEvent
from sisu_pipeline.store.records import fetch_all
from sisu_pipeline.store.review.open_gates import patterns


@dataclass(frozen=True)
class EventFilter:
    """Which changes are listed; None means any."""

    search: str | None = None
    run_id: str | None = None
    person: str | None = None
    event: str | None = None
    tenant: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class EventPosition:
    """The place of a change in the list; `person` is empty for one by an unknown person."""

    at: datetime
    run_id: str
    event: str
    person: str


@dataclass(frozen=True)
class EventOfRun(RunEvent):
    """A change beside its run; `goal` is the beginning of its intent's."""

    run_id: str
    workflow_id: str
    tenant_id: str | None
    goal: str

    @property
    def position(self) -> EventPosition:
        """The place of this change in the list."""
        return EventPosition(self.at, self.run_id, self.event, self.person or "")


def matching(
    connection: Connection, wanted: EventFilter, limit: int, after: EventPosition | None = None
) -> list[EventOfRun]:
    """The changes that match, the newest first, from the one after `after` on; at most `limit`."""
    parameters: dict[str, Any] = {name: value for name, value in vars(wanted).items() if name != "search"}
    parameters["patterns"] = None if wanted.search is None else patterns(wanted.search)
    parameters |= {
        "at": after and after.at,
        "after_run": after and after.run_id,
        "after_event": after and after.event,
        "after_person": after and after.person,
        "limit": limit,
    }
    return fetch_all(connection, "review.history", EventOfRun, parameters)
