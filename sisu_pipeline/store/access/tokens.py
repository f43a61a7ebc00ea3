"""API tokens, stored as hashes and looked up with every request."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from resources.database import Connection
from sisu_pipeline.contracts.access import Role
from sisu_pipeline.contracts.person_name import checked_name
from sisu_pipeline.domain.canonical import sha256_hex
from sisu_pipeline.domain.errors import NotFound
from sisu_pipeline.store.records import fetch_all, fetch_first, fetch_one

UNKNOWN = "sisu:unknown"
"""Recorded where the account that changes a token is not known."""
_ID_DIGITS = 12
_NO_HASH = ""
"""A value that is not the hash of any token."""


@dataclass(frozen=True)
class Token:
    """A token as it is stored, without the token itself."""

    id: str
    owner: str
    roles: frozenset[Role]
    groups: frozenset[str]
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True)
class AccessChange:
    """A token that was created or revoked, or a session that was ended, with who did it and why."""

    made_at: datetime
    event: str
    subject: str
    person: str
    made_by: str
    reason: str | None
    channel: str


@dataclass(frozen=True)
class Lookup:
    """The result of looking up a request's token.

    `required`: requests must be authenticated. `owner` is None for an unknown or revoked token.
    """

    required: bool
    owner: str | None
    roles: frozenset[Role]
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _StoredToken:
    id: str
    owner: str
    roles: list[str]
    groups: list[str]
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True)
class _FoundToken:
    sha256: str
    required: bool
    owner: str | None
    roles: list[str] | None
    groups: list[str] | None


def create(
    connection: Connection,
    token: str,
    owner: str,
    roles: Sequence[Role],
    groups: Sequence[str] = (),
    made_by: str = UNKNOWN,
) -> Token:
    """Store a token's hash. The caller generates the token, 256 random bits, and shows it to its owner only.

    `made_by` is the account that creates it.

    Raises ValueError for a name that is not a person's (`contracts/person_name.py`).
    """
    digest = sha256_hex(token)
    stored = fetch_one(
        connection,
        "tokens.insert",
        _StoredToken,
        {
            "id": f"tok_{digest[:_ID_DIGITS]}",
            "owner": checked_name(owner),
            "roles": sorted(set(roles)),
            "groups": sorted(set(groups)),
            "sha256": digest,
            "made_by": made_by,
        },
    )
    return _token(stored)


def every(connection: Connection) -> list[Token]:
    """All tokens, revoked ones included, the newest first."""
    return [_token(stored) for stored in fetch_all(connection, "tokens.list", _StoredToken)]


def history(connection: Connection, limit: int) -> list[AccessChange]:
    """The changes of tokens and sessions, the newest first, at most `limit`."""
    return fetch_all(connection, "tokens.history", AccessChange, {"limit": limit})


def revoke(connection: Connection, identifier: str, made_by: str = UNKNOWN, reason: str | None = None) -> Token:
    """Revoke a token by its id. Idempotent. Raises NotFound."""
    values = {"id": identifier, "made_by": made_by, "reason": reason}
    stored = fetch_first(connection, "tokens.revoke", _StoredToken, values)
    if stored is None:
        raise NotFound("token not found")
    return _token(stored)


def look_up(connection: Connection, token: str | None) -> Lookup:
    """Look up a token, or None for a request without one."""
    return look_up_all(connection, [token])[token]


def look_up_all(connection: Connection, given: Sequence[str | None]) -> dict[str | None, Lookup]:
    """Look up several tokens in one statement."""
    digests = [_NO_HASH if token is None else sha256_hex(token) for token in given]
    rows = fetch_all(connection, "tokens.lookup", _FoundToken, {"sha256s": digests})
    found = {
        row.sha256: Lookup(row.required, row.owner, _roles(row.roles or []), frozenset(row.groups or []))
        for row in rows
    }
    return {token: found[digest] for token, digest in zip(given, digests, strict=True)}


def are_required(connection: Connection) -> bool:
    """Whether requests must be authenticated: once a token was created or a person identified."""
    return look_up(connection, None).required


def _token(stored: _StoredToken) -> Token:
    return Token(
        stored.id,
        stored.owner,
        _roles(stored.roles),
        frozenset(stored.groups),
        stored.created_at,
        stored.revoked_at,
    )


def _roles(names: Sequence[str]) -> frozenset[Role]:
    return frozenset(map(Role, names))
