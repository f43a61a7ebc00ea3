"""JSON values for hypothesis: everything canonical JSON can say."""

from typing import Any

from hypothesis import strategies as st

from sisu_pipeline.domain.canonical import MAX_SAFE_INTEGER

text = st.text(st.characters(codec="utf-8"))  # every character, no lone surrogate
integers = st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER)
doubles = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | integers | doubles | text


def values(strings: st.SearchStrategy[str] = text) -> st.SearchStrategy[Any]:
    """Nested values; `strings` are their keys and texts."""
    return st.recursive(
        st.none() | st.booleans() | integers | doubles | strings,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(strings, inner, max_size=4),
        max_leaves=12,
    )


def objects(strings: st.SearchStrategy[str] = text) -> st.SearchStrategy[dict[str, Any]]:
    """Objects of such values."""
    return st.dictionaries(strings, values(strings), max_size=5)
