"""Intents are kept once under their content's id, and a row cannot lie about it."""

from typing import Any

import pytest
from psycopg.types.json import Jsonb

from resources.database import Connection, Database
from sisu_pipeline.domain.errors import DeterminismBreach, NotFound
from sisu_pipeline.domain.identity import intent_id
from sisu_pipeline.store import intents
from tests.builders import an_intent


def _count(connection: Connection) -> int:
    row = connection.execute("SELECT count(*) AS n FROM app.intents").fetchone()
    assert row is not None
    count: int = row["n"]
    return count


def _insert(connection: Connection, identifier: str, goal: str, payload: dict[str, Any]) -> None:
    connection.execute(
        "INSERT INTO app.intents (id, goal, payload) VALUES (%s, %s, %s)", [identifier, goal, Jsonb(payload)]
    )


def test_the_same_intent_again_is_a_replay_and_one_row(clean_database: Database) -> None:
    intent = an_intent(inputs={"a": 1, "b": [1.5, None, "é"]}, connectors=["github"])
    with clean_database.connect() as connection:
        first = intents.store(connection, intent)
        again = intents.store(
            connection, an_intent(inputs={"b": [1.5, None, "é"], "a": 1.0}, connectors=["github"])
        )
        assert (first.is_replay, again.is_replay) == (False, True)
        assert first.id == again.id == intent_id(intent)
        assert _count(connection) == 1
        assert intents.verified(connection, first.id) == intent


def test_the_intents_hash_is_a_column(clean_database: Database) -> None:
    with clean_database.connect() as connection:
        kept = intents.store(connection, an_intent())
        rows = connection.execute("SELECT id, intent_hash FROM app.intents").fetchall()
    assert rows == [{"id": kept.id, "intent_hash": kept.id.removeprefix("ih_")}]


def test_other_content_under_the_id_is_a_breach(clean_database: Database) -> None:
    intent = an_intent()
    with clean_database.connect() as connection:
        _insert(connection, intent_id(intent), "another goal", {"inputs": {}, "constraints": {}})
        with pytest.raises(DeterminismBreach):
            intents.store(connection, intent)


def test_a_row_written_by_hand_with_a_wrong_id_is_refused(clean_database: Database) -> None:
    wrong = "ih_" + "0" * 64
    with clean_database.connect() as connection:
        _insert(connection, wrong, "g", {"inputs": {}, "constraints": {}})
        with pytest.raises(DeterminismBreach, match="does not hash to its id"):
            intents.verified(connection, wrong)


def test_a_row_written_by_hand_with_its_right_id_is_accepted(clean_database: Database) -> None:
    intent = an_intent("by hand", inputs={"x": 1})
    with clean_database.connect() as connection:
        _insert(connection, intent_id(intent), "by hand", {"inputs": {"x": 1.0}, "constraints": {}})
        assert intents.verified(connection, intent_id(intent)).to_json() == intent.to_json()
        assert intents.store(connection, intent).is_replay


def test_an_unknown_intent_is_not_found(clean_database: Database) -> None:
    with clean_database.connect() as connection, pytest.raises(NotFound):
        intents.get(connection, "ih_" + "0" * 64)


def test_a_deep_intent_is_stored_and_read_back(clean_database: Database) -> None:
    value: Any = 1
    for _ in range(120):  # 180 levels; the contract takes 200
        value = {"a": [value]} if _ % 2 else {"b": value}
    with clean_database.connect() as connection:
        kept = intents.store(connection, an_intent(inputs={"deep": value}))
        assert intents.verified(connection, kept.id).inputs == {"deep": value}


def test_three_recipes_are_seeded(clean_database: Database) -> None:
    with clean_database.connect() as connection:
        recipes = intents.recipes(connection)
    assert [(r.name, r.queue_name, r.max_concurrency, r.max_steps, r.max_sandbox_minutes) for r in recipes] == [
        ("compile-default", "intentQ", 10, 32, 15),
        ("control-default", "intentQ", 5, 16, 10),
        ("sandbox-default", "intentQ", 20, 128, 60),
    ]
