"""Open gates that match a filter, page by page."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from resources.database import Connection
from sisu_pipeline.store.human_gates import ListedGate
from sisu_pipeline.store.records import fetch_all, fetch_column

_SPECIAL = re.compile(r"([\\%_])")


class Asked(StrEnum):
    """Whom the listed gates are for."""

    ME = "me"
    """Gates that ask the person, one of their groups, or someone who has delegated to them."""
    TEAM = "team"
    """Gates that ask a group of the person, or anyone who shares a group with them."""
    UNASSIGNED = "unassigned"
    """Gates that ask no one in particular."""


@dataclass(frozen=True)
class GateFilter:
    """Which open gates are listed; None means any."""

    search: str | None = None
    tenant: str | None = None
    due_within_s: int | None = None
    asked: Asked | None = None
    person: str | None = None
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True)
class GatePosition:
    """The place of a gate in the list; `due_at` is None without a deadline."""

    due_at: datetime | None
    created_at: datetime
    run_id: str
    gate_key: str


@dataclass(frozen=True)
class OpenGate(ListedGate):
    """An open gate with who submitted its run and who is asked to decide; `total` counts all that match."""

    recipe: str
    submitters: list[str]
    asked_people: list[str]
    asked_groups: list[str]
    assigned_by: str | None
    assigned_at: datetime | None
    delegates: list[str]
    total: int

    @property
    def position(self) -> GatePosition:
        """The place of this gate in the list."""
        return GatePosition(self.deadline_at, self.created_at, self.run_id, self.gate_key)


@dataclass(frozen=True)
class GatePage:
    """Some of the open gates, the nearest deadline first, and the number of all that match."""

    gates: list[OpenGate]
    count: int


def matching(connection: Connection, wanted: GateFilter, limit: int, after: GatePosition | None = None) -> GatePage:
    """The open gates that match, the nearest deadline first, from the one after `after` on; at most `limit`."""
    parameters = {**_filter(connection, wanted), **_place(after), "limit": limit}
    found = fetch_all(connection, "review.open_gates", OpenGate, parameters)
    if not found and after is not None:
        # The page is behind the last gate; how many there are is read from the beginning.
        return GatePage([], matching(connection, wanted, 1).count)
    return GatePage(found, found[0].total if found else 0)


def patterns(search: str) -> list[str]:
    """Each word of a search as a pattern of LIKE that matches it anywhere."""
    return [f"%{_SPECIAL.sub(_escaped, word)}%" for word in search.split()]


def _escaped(match: re.Match[str]) -> str:
    return f"\\{match[1]}"


def _filter(connection: Connection, wanted: GateFilter) -> dict[str, Any]:
    return {
        "patterns": None if wanted.search is None else patterns(wanted.search),
        "tenant": wanted.tenant,
        "due_within_s": wanted.due_within_s,
        "asked": wanted.asked,
        "names": _names(connection, wanted),
        "groups": sorted(wanted.groups),
    }


def _names(connection: Connection, wanted: GateFilter) -> list[str]:
    """The people whose gates are listed."""
    match wanted.asked:
        case Asked.ME:
            return fetch_column(connection, "review.names_of", {"person": wanted.person})
        case Asked.TEAM:
            return fetch_column(connection, "review.colleagues", {"groups": sorted(wanted.groups)})
        case _:
            return []


def _place(after: GatePosition | None) -> dict[str, Any]:
    if after is None:
        return dict.fromkeys(("due_at", "created_at", "run_id", "gate_key"))
    due_at = "infinity" if after.due_at is None else after.due_at.isoformat()
    return {**vars(after), "due_at": due_at}
