"""The ledger of decisions and answers at gates: one row per dedupe key, never changed."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from resources.database import Connection
from sisu_pipeline.contracts.gate import Channel
from sisu_pipeline.domain.canonical import sha256_json
from sisu_pipeline.domain.errors import DedupeConflict
from sisu_pipeline.store.records import execute, fetch_all, fetch_first


@dataclass(frozen=True)
class NewInteraction:
    """A decision or an answer to be stored. Without a dedupe key from its author, its content is its key."""

    gate_key: str
    kind: str
    actor: str
    payload: dict[str, Any]
    dedupe_key: str | None = None
    channel: Channel = Channel.API

    @property
    def payload_hash(self) -> str:
        """sha256 of the payload's canonical JSON."""
        return sha256_json(self.payload)

    @property
    def key(self) -> str:
        """The key it is stored under, unique within its gate."""
        return self.dedupe_key or f"{self.kind}:{sha256_json({'actor': self.actor, 'payload': self.payload})}"

    def for_plan(self, plan_sha256: str) -> "NewInteraction":
        """The same about this version of the plan: content without a key of its own may be recorded for another."""
        return self if self.dedupe_key else replace(self, dedupe_key=f"{self.key}:{plan_sha256}")

    def check_same(self, payload_hash: str, kind: str) -> None:
        """Raise DedupeConflict when another interaction is stored under this key."""
        if (payload_hash, kind) != (self.payload_hash, self.kind):
            raise DedupeConflict(f"dedupeKey {self.key} was used for another request at {self.gate_key}")


@dataclass(frozen=True)
class Interaction:
    """A decision or an answer as it is stored; `plan_sha256` is of the plan at that moment."""

    gate_key: str
    dedupe_key: str
    kind: str
    actor: str
    plan_sha256: str | None
    payload: dict[str, Any]
    payload_hash: str
    channel: Channel | None
    created_at: datetime


@dataclass(frozen=True)
class RunEvent:
    """One change of a run. `person` is None where no token was required, `channel` where it was not recorded."""

    at: datetime
    event: str
    person: str | None
    channel: str | None
    reason: str | None
    plan_sha256: str | None


@dataclass(frozen=True)
class _Identity:
    payload_hash: str
    kind: str


def is_repeated(connection: Connection, run_id: str, interaction: NewInteraction) -> bool:
    """Whether this is stored already. Raises DedupeConflict when its key was used for another request."""
    key = {"run_id": run_id, "gate_key": interaction.gate_key, "dedupe_key": interaction.key}
    stored = fetch_first(connection, "interactions.get", _Identity, key)
    if stored is None:
        return False
    interaction.check_same(stored.payload_hash, stored.kind)
    return True


def append(connection: Connection, run_id: str, interaction: NewInteraction, plan_sha256: str | None) -> None:
    """Store an interaction; a repeat stores nothing. Raises DedupeConflict."""
    inserted = execute(
        connection,
        "interactions.append",
        {
            "run_id": run_id,
            "gate_key": interaction.gate_key,
            "dedupe_key": interaction.key,
            "kind": interaction.kind,
            "actor": interaction.actor,
            "plan_sha256": plan_sha256,
            "payload": Jsonb(interaction.payload),
            "payload_hash": interaction.payload_hash,
            "channel": interaction.channel,
        },
    )
    if not inserted:
        is_repeated(connection, run_id, interaction)


def vote(connection: Connection, run_id: str, interaction: NewInteraction, plan_sha256: str) -> Interaction | None:
    """The first approval of exactly this plan by the interaction's actor; None when there is none."""
    key = {"run_id": run_id, "gate_key": interaction.gate_key, "plan_sha256": plan_sha256}
    return fetch_first(connection, "interactions.vote", Interaction, key | {"actor": interaction.actor})


def of_run(connection: Connection, run_id: str, limit: int) -> list[Interaction]:
    """The interactions at a run's gates, in order, at most `limit`."""
    return fetch_all(connection, "interactions.of_run", Interaction, {"run_id": run_id, "limit": limit})


def history(connection: Connection, run_id: str, limit: int) -> list[RunEvent]:
    """Every change of a run from its submission on, in order, at most `limit`."""
    return fetch_all(connection, "interactions.history", RunEvent, {"run_id": run_id, "limit": limit})
