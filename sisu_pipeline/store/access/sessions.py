"""Sessions of signed-in browsers: ids of their own, stored as hashes and bound to a token or a person."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from resources.database import Connection
from sisu_pipeline.contracts.access import Person, Role
from sisu_pipeline.domain.canonical import sha256_hex
from sisu_pipeline.store.access import people
from sisu_pipeline.store.access.tokens import Lookup
from sisu_pipeline.store.records import execute, fetch_all

LIFE_S = 12 * 3600
"""Seconds until a session expires."""


@dataclass(frozen=True)
class OpenSession:
    """A session of a signed-in browser. `token_id` is None for a person of the identity provider."""

    id: str
    person: str
    host: str
    token_id: str | None
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class _FoundSession:
    sha256: str
    host: str
    required: bool
    owner: str | None
    roles: list[str] | None
    groups: list[str] | None


def cookie_name(port: int) -> str:
    """The cookie of the deployment whose API listens on this port: cookies themselves do not distinguish ports."""
    return f"sisu_session_{port}"


def secure_name(cookie: str) -> str:
    """The cookie's name under https: with this prefix no other host and no http page can set it (RFC 6265bis)."""
    return f"__Host-{cookie}"


def open_session(connection: Connection, session_id: str, token: str, host: str) -> bool:
    """Open a session under this host name; False when the token is unknown or revoked.

    `session_id` is 256 random bits of the caller's and is known to the browser only.
    """
    execute(connection, "sessions.delete_expired")
    parameters = {
        "sha256": sha256_hex(session_id),
        "token_sha256": sha256_hex(token),
        "host": host,
        "life_s": LIFE_S,
    }
    return execute(connection, "sessions.open", parameters) == 1


def open_session_of(connection: Connection, session_id: str, person: Person, host: str) -> None:
    """Record a person whom an identity provider has identified, and open a session under this host name."""
    execute(connection, "sessions.delete_expired")
    people.record(connection, person, "provider")
    parameters = {"sha256": sha256_hex(session_id), "person": person.name, "host": host, "life_s": LIFE_S}
    execute(connection, "sessions.open_of_person", parameters)


def look_up(connection: Connection, session_id: str, host: str) -> Lookup:
    """The owner and roles of a session under this host name; no owner when it has ended or never existed."""
    return look_up_all(connection, [(session_id, host)])[session_id, host]


def look_up_all(connection: Connection, given: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Lookup]:
    """The same for several (session id, host name) pairs, in one statement."""
    digests = [sha256_hex(session_id) for session_id, _ in given]
    parameters = {"sha256s": digests, "hosts": [host for _, host in given]}
    rows = fetch_all(connection, "sessions.lookup", _FoundSession, parameters)
    found = {
        (row.sha256, row.host): Lookup(
            row.required, row.owner, frozenset(map(Role, row.roles or [])), frozenset(row.groups or [])
        )
        for row in rows
    }
    return {(each, host): found[digest, host] for (each, host), digest in zip(given, digests, strict=True)}


def close_session(connection: Connection, session_id: str) -> None:
    """End a session. Safe to repeat."""
    execute(connection, "sessions.close", {"sha256": sha256_hex(session_id)})


def every_open(connection: Connection) -> list[OpenSession]:
    """The open sessions, the newest first."""
    return fetch_all(connection, "sessions.list", OpenSession)


def end(
    connection: Connection,
    made_by: str,
    *,
    identifier: str | None = None,
    person: str | None = None,
    reason: str = "",
) -> list[OpenSession]:
    """End the session with this id, or all sessions of a person; returns those that were open.

    The next request with the cookie is refused, and streams end within seconds.
    """
    values = {"id": identifier, "person": person, "made_by": made_by, "reason": reason or None}
    return fetch_all(connection, "sessions.end", OpenSession, values)
