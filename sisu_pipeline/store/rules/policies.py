"""Approval policies: immutable versions. The newest one of a policy counts for runs that start."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from resources.database import Connection
from sisu_pipeline.contracts.approval_policy import ApprovalPolicy
from sisu_pipeline.domain.canonical import canonical_json, same_json, sha256_hex
from sisu_pipeline.domain.errors import NotFound
from sisu_pipeline.domain.policy import PolicyVersion
from sisu_pipeline.store.records import execute, fetch_all, fetch_first, fetch_one


@dataclass(frozen=True)
class StoredPolicy:
    """A version of a policy, with who applied it: a token's owner, or None while no token is required."""

    id: str
    version: int
    sha256: str
    content: dict[str, Any]
    applied_by: str | None
    channel: str
    applied_at: datetime

    def read(self) -> PolicyVersion:
        """The version with its policy."""
        return PolicyVersion(self.id, self.version, self.sha256, ApprovalPolicy.from_json(self.content))


def newest(connection: Connection, identifier: str) -> StoredPolicy:
    """The newest version of a policy. Raises NotFound."""
    found = fetch_first(connection, "policies.newest", StoredPolicy, {"id": identifier})
    if found is None:
        raise NotFound(f"policy not found: {identifier}")
    return found


def versions(connection: Connection, identifier: str) -> list[StoredPolicy]:
    """All versions of a policy, the newest first. Raises NotFound."""
    found = fetch_all(connection, "policies.versions", StoredPolicy, {"id": identifier})
    if not found:
        raise NotFound(f"policy not found: {identifier}")
    return found


def newest_of_each(connection: Connection) -> list[StoredPolicy]:
    """The newest version of each policy, by id."""
    return fetch_all(connection, "policies.newest_of_each", StoredPolicy)


def lock(connection: Connection) -> None:
    """Serialize changes of recipes and policies until the transaction ends."""
    execute(connection, "policies.lock")


def apply(
    connection: Connection, policy: ApprovalPolicy, applied_by: str | None, channel: str
) -> tuple[StoredPolicy, bool]:
    """Store a policy as its next version; returns it, and whether the newest version had this content already."""
    lock(connection)
    content = policy.to_json()
    current = fetch_first(connection, "policies.newest", StoredPolicy, {"id": policy.id})
    if current is not None and same_json(current.content, content):
        return current, True
    document = canonical_json(content)
    values = {
        "id": policy.id,
        "document": document,
        "sha256": sha256_hex(document),
        "applied_by": applied_by,
        "channel": channel,
    }
    return fetch_one(connection, "policies.insert", StoredPolicy, values), False
