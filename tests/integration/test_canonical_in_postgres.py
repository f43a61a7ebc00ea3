"""What is stored as jsonb comes back as the same canonical JSON: hashes survive the database."""

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from resources.database import Connection, Database
from sisu_pipeline.domain.canonical import canonical_json, sha256_json
from tests import json_values

# jsonb has no U+0000.
storable = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


def _stored(connection: Connection, value: Any) -> Any:
    row = connection.execute("SELECT %s::jsonb AS value", [Jsonb(value)]).fetchone()
    assert row is not None
    return row["value"]


def test_a_value_that_went_through_jsonb_has_the_same_hash(database: Database) -> None:
    with database.connect() as connection:

        @settings(max_examples=200)
        @given(json_values.values(storable))
        @example([1e21, 2.0**53, 5e-324, 1.7976931348623157e308, -0.0, 1e-7, 123456789012345680000.0])
        @example({"é": 1, "e\u0301": 2, "\U0001f600": 3, "\ufb33": 4, "": None})
        def law(value: Any) -> None:
            assert sha256_json(_stored(connection, value)) == sha256_json(value)

        law()


def test_python_and_jsonb_agree_on_which_values_are_equal(database: Database) -> None:
    with database.connect() as connection:

        @settings(max_examples=50)
        @given(json_values.values(storable), json_values.values(storable))
        def law(left: Any, right: Any) -> None:
            row = connection.execute("SELECT %s::jsonb = %s::jsonb AS same", [Jsonb(left), Jsonb(right)]).fetchone()
            assert row is not None
            assert row["same"] == (canonical_json(left) == canonical_json(right))

        law()
