"""What an agent sends can be hashed and stored, whatever it is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sisu_pipeline.domain.canonical import canonical_json
from sisu_pipeline.domain.plain_json import plain, plain_text, unstorable
from tests import json_values

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(ANYTHING)
def test_anything_becomes_storable_and_stays_so(value: Any) -> None:
    made = plain(value)
    text = canonical_json(made)
    assert "\0" not in text and "\\u0000" not in text
    assert plain(made) == made


@given(json_values.values())
def test_storable_json_is_unchanged(value: Any) -> None:
    if "\\u0000" not in json.dumps(value):
        assert plain(value) == value


def test_deep_nesting_is_cut() -> None:
    value: Any = 1
    for _ in range(900):
        value = [value]
    assert "…" in canonical_json(plain(value))


def test_a_text_without_nul_and_surrogates_is_unchanged() -> None:
    assert plain_text("é \U0001f600 \x7f") == "é \U0001f600 \x7f"
    assert plain_text("a\0b\ud800c") == "a\N{REPLACEMENT CHARACTER}b?c"


@given(ANYTHING)
def test_a_value_is_storable_when_nothing_has_to_change(value: Any) -> None:
    assert (unstorable(value) is None) == (plain(value) == value)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"design": ["d", "a\0b"]}, "design[1] contains the character U+0000"),
        ({"risks": {"\0": 1}}, "a name in risks contains the character U+0000"),
        (["\ud800"], "[0] contains half of a surrogate pair"),
        (
            {"ask": {"form": {"maximum": 10**20}}},
            f"ask.form.maximum is {10**20}, a number that JSON cannot hold exactly",
        ),
        ({"a": 10**400}, f"a is 1{'0' * 29}, a number that JSON cannot hold exactly"),
        ({"a": float("nan")}, "a is nan, a number that JSON cannot hold exactly"),
        ("\0", "the value contains the character U+0000"),
    ],
)
def test_what_cannot_be_stored_is_named_by_its_place(value: Any, sentence: str) -> None:
    assert unstorable(value) == sentence
