"""What an agent sends can be hashed and stored, whatever it is."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sisu_pipeline.domain.canonical import canonical_json
from sisu_pipeline.domain.plain_json import plain, plain_text
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
