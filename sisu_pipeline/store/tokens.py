"""API tokens: kept as hashes, looked up at every request."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from resources.database import Connection, Row
from sisu_pipeline.contracts.access import Role
from sisu_pipeline.domain.canonical import sha256_hex
from sisu_pipeline.domain.errors import NotFound
from sql import query

_ID_DIGITS = 12
_NO_HASH = ""
"""What no token hashes to."""


@dataclass(frozen=True)
class Token:
    """A token as it is kept: never the token itself."""

    id: str
    owner: str
    roles: frozenset[Role]
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True)
class Lookup:
    """What a request's token is worth: `required` says whether one is needed; no `owner`, no such token."""

    required: bool
    owner: str | None
    roles: frozenset[Role]


def keep(connection: Connection, token: str, owner: str, roles: Sequence[Role]) -> Token:
    """Keep a token's hash. The token is 256 random bits of the caller's, and is shown to its owner only."""
    digest = sha256_hex(token)
    row = connection.execute(
        query("tokens.insert"),
        {
            "id": f"tok_{digest[:_ID_DIGITS]}",
            "owner": owner,
            "roles": sorted(set(roles)),
            "sha256": digest,
        },
    ).fetchone()
    assert row is not None
    return _token(row)


def every(connection: Connection) -> list[Token]:
    """Every token, revoked ones too, the newest first."""
    return [_token(row) for row in connection.execute(query("tokens.list"))]


def revoke(connection: Connection, identifier: str) -> Token:
    """End a token, by its id. Raises NotFound. Safe to repeat."""
    row = connection.execute(query("tokens.revoke"), {"id": identifier}).fetchone()
    if row is None:
        raise NotFound("token not found")
    return _token(row)


def look_up(connection: Connection, token: str | None) -> Lookup:
    """Whose token this is, and whether a request needs one at all."""
    return look_up_all(connection, [token])[token]


def look_up_all(connection: Connection, given: Sequence[str | None]) -> dict[str | None, Lookup]:
    """The same for several tokens, in one statement."""
    digests = [_NO_HASH if token is None else sha256_hex(token) for token in given]
    rows = connection.execute(query("tokens.lookup"), {"sha256s": digests}).fetchall()
    found = {row["sha256"]: Lookup(row["required"], row["owner"], _roles(row["roles"] or [])) for row in rows}
    return {token: found[digest] for token, digest in zip(given, digests, strict=True)}


def are_required(connection: Connection) -> bool:
    """Whether a token was ever made: from then on every request needs one."""
    return look_up(connection, None).required


def _token(row: Row) -> Token:
    return Token(row["id"], row["owner"], _roles(row["roles"]), row["created_at"], row["revoked_at"])


def _roles(names: Sequence[str]) -> frozenset[Role]:
    return frozenset(map(Role, names))
