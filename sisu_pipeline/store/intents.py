"""Intents, stored once each under an id that is a hash of their content."""

from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from resources.database import Connection
from sisu_pipeline.contracts.gate import Channel
from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.domain.canonical import same_json
from sisu_pipeline.domain.errors import DeterminismBreach, NotFound
from sisu_pipeline.domain.identity import intent_id
from sisu_pipeline.domain.policy import Recipe
from sisu_pipeline.steps import gate_terms
from sisu_pipeline.store.records import execute, fetch_all, fetch_first, fetch_value


@dataclass(frozen=True)
class Stored:
    """The id of an intent or a run, and whether it was stored before."""

    id: str
    is_replay: bool


@dataclass(frozen=True)
class _StoredIntent:
    goal: str
    payload: dict[str, Any]


def store(
    connection: Connection, intent: Intent, submitter: str | None = None, channel: Channel = Channel.API
) -> Stored:
    """Store an intent; the same content again is a replay.

    Raises DeterminismBreach when other content is stored under its id.
    """
    identifier = intent_id(intent)
    content = intent.to_json()
    goal = content.pop("goal")
    inserted = execute(
        connection,
        "intents.insert",
        {
            "id": identifier,
            "goal": goal,
            "payload": Jsonb(content),
            "submitted_by": submitter,
            "form_fields": gate_terms.form_fields(intent.constraints),
        },
    )
    if not inserted and not same_json(get(connection, identifier).to_json(), intent.to_json()):
        raise DeterminismBreach(f"intent {identifier} is stored with content that does not match its id")
    record_submission(connection, identifier, "submit", submitter, channel)
    return Stored(identifier, not inserted)


def record_submission(
    connection: Connection, identifier: str, action: str, person: str | None, channel: Channel
) -> None:
    """Record who submitted an intent or started its run, also again: each is an author. Idempotent.

    Waits for a decision about the intent's run that is being recorded.
    """
    values = {"id": identifier, "action": action, "person": person, "channel": channel}
    execute(connection, "intents.record_submission", values)


def get(connection: Connection, identifier: str) -> Intent:
    """The stored intent. Raises NotFound."""
    stored = fetch_first(connection, "intents.get", _StoredIntent, {"id": identifier})
    if stored is None:
        raise NotFound("intent not found")
    return Intent.from_json({"goal": stored.goal, **stored.payload})


def form_fields(connection: Connection, identifier: str) -> list[str] | None:
    """The fields of the form in the intent's constraints, in the submitter's order; None without a form."""
    fields: list[str] | None = fetch_value(connection, "intents.form_fields", {"id": identifier})
    return fields


def verified(connection: Connection, identifier: str) -> Intent:
    """The stored intent. Raises NotFound, or DeterminismBreach when its id is not the hash of its content."""
    intent = get(connection, identifier)
    if intent_id(intent) != identifier:
        raise DeterminismBreach(f"intent {identifier} does not hash to its id (its content is {intent_id(intent)})")
    return intent


def recipes(connection: Connection) -> list[Recipe]:
    """Every recipe version."""
    return fetch_all(connection, "intents.recipes", Recipe)
