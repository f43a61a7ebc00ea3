"""Intents: insert once, then compare."""

from dataclasses import dataclass

from psycopg.types.json import Jsonb

from resources.database import Connection
from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.domain.canonical import same_json
from sisu_pipeline.domain.errors import DeterminismBreach, NotFound
from sisu_pipeline.domain.identity import intent_id
from sisu_pipeline.domain.policy import Recipe
from sql import query


@dataclass(frozen=True)
class Kept:
    """An id, and whether it was there already."""

    id: str
    is_replay: bool


def keep(connection: Connection, intent: Intent, submitter: str | None = None) -> Kept:
    """Insert the intent under its content's id; a repeat is a replay."""
    identifier = intent_id(intent)
    content = intent.to_json()
    goal = content.pop("goal")
    inserted = connection.execute(
        query("intents.insert"),
        {"id": identifier, "goal": goal, "payload": Jsonb(content), "submitted_by": submitter},
    ).fetchone()
    if inserted is None and not same_json(get(connection, identifier).to_json(), intent.to_json()):
        raise DeterminismBreach(f"intent {identifier} is stored with other content than its id says")
    return Kept(identifier, inserted is None)


def get(connection: Connection, identifier: str) -> Intent:
    """The stored intent. Raises NotFound."""
    row = connection.execute(query("intents.get"), {"id": identifier}).fetchone()
    if row is None:
        raise NotFound("intent not found")
    return Intent.from_json({"goal": row["goal"], **row["payload"]})


def verified(connection: Connection, identifier: str) -> Intent:
    """The stored intent, its id checked against its content: a row written by hand cannot lie about it."""
    intent = get(connection, identifier)
    if intent_id(intent) != identifier:
        raise DeterminismBreach(f"intent {identifier} does not hash to its id (its content is {intent_id(intent)})")
    return intent


def recipes(connection: Connection) -> list[Recipe]:
    """Every recipe version."""
    return [Recipe(**row) for row in connection.execute(query("intents.recipes"))]
