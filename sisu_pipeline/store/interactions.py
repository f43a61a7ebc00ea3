"""The ledger: everything people say at gates, once per dedupe key, never changed (reference §D4)."""

from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from resources.database import Connection, Row
from sisu_pipeline.domain.canonical import sha256_json
from sisu_pipeline.domain.errors import DedupeConflict
from sql import query


@dataclass(frozen=True)
class Said:
    """What somebody says at a gate; without a dedupe key of theirs, its content is its key."""

    gate_key: str
    kind: str
    actor: str
    payload: dict[str, Any]
    dedupe_key: str | None = None

    @property
    def payload_hash(self) -> str:
        """sha256 of the payload's canonical JSON."""
        return sha256_json(self.payload)

    @property
    def key(self) -> str:
        """The key it is kept under, unique within its gate (quirk N15 fixed)."""
        return self.dedupe_key or f"{self.kind}:{sha256_json({'actor': self.actor, 'payload': self.payload})}"

    def check_same(self, payload_hash: str, kind: str) -> None:
        """Raises DedupeConflict when what is kept under this key is something else."""
        if (payload_hash, kind) != (self.payload_hash, self.kind):
            raise DedupeConflict(f"dedupeKey {self.key} was used for something else at {self.gate_key}")


def is_repeated(connection: Connection, run_id: str, said: Said) -> bool:
    """Whether this was said before. Raises DedupeConflict when its key was used for something else."""
    row = connection.execute(
        query("interactions.get"), {"run_id": run_id, "gate_key": said.gate_key, "dedupe_key": said.key}
    ).fetchone()
    if row is None:
        return False
    said.check_same(row["payload_hash"], row["kind"])
    return True


def append(connection: Connection, run_id: str, said: Said, plan_sha256: str | None) -> None:
    """Keep it; a repeat keeps nothing. Raises DedupeConflict."""
    row = connection.execute(
        query("interactions.append"),
        {
            "run_id": run_id,
            "gate_key": said.gate_key,
            "dedupe_key": said.key,
            "kind": said.kind,
            "actor": said.actor,
            "plan_sha256": plan_sha256,
            "payload": Jsonb(said.payload),
            "payload_hash": said.payload_hash,
        },
    ).fetchone()
    if row is None:
        is_repeated(connection, run_id, said)


def voters(connection: Connection, run_id: str, gate_key: str, plan_sha256: str) -> list[Row]:
    """Who approved this very plan, in order, with the time of each one's first word (`actor`, `created_at`)."""
    key = {"run_id": run_id, "gate_key": gate_key, "plan_sha256": plan_sha256}
    return connection.execute(query("interactions.votes"), key).fetchall()


def of_run(connection: Connection, run_id: str, limit: int) -> list[Row]:
    """Everything said at a run's gates, in order."""
    return connection.execute(query("interactions.of_run"), {"run_id": run_id, "limit": limit}).fetchall()
