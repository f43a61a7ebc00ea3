"""People by name, with the rights that their tokens, their identity provider or their proxy give them."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

from resources.database import Connection
from sisu_pipeline.contracts.access import Person, Role
from sisu_pipeline.store.records import execute, fetch_one

IdentifiedBy = Literal["provider", "header"]
Connect = Callable[[], AbstractContextManager[Connection]]


@dataclass(frozen=True)
class _Stored:
    roles: list[str]
    groups: list[str]


def record(connection: Connection, person: Person, identified_by: IdentifiedBy) -> None:
    """Store the person as they are identified now, in place of what was stored under the name."""
    parameters = {
        "name": person.name,
        "roles": sorted(person.roles),
        "groups": sorted(person.groups),
        "identified_by": identified_by,
    }
    execute(connection, "people.record", parameters)


class ProxiedPeople:
    """People whom a proxy identifies with every request. Not cached: another process may see other groups."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect

    def record(self, person: Person) -> None:
        """Store the person as this request describes them."""
        with self._connect() as connection:
            record(connection, person, "header")


def get(connection: Connection, name: str) -> Person:
    """The roles and groups of a name at this moment; none for an unknown one.

    Both are those of every token of that owner that is not revoked, and those of the last identification.
    """
    stored = fetch_one(connection, "people.get", _Stored, {"name": name})
    return Person(name, frozenset(map(Role, stored.roles)), frozenset(stored.groups))
