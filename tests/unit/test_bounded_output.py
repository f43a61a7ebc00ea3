"""A run's page holds a bounded part of each output, and says when it is a part."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sisu_pipeline.api.views.bounded_output import MAX_CHARACTERS, MAX_ITEMS, MAX_TEXT, bounded_output

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=5), values, max_size=4))
def test_a_small_output_is_whole(output: dict[str, Any]) -> None:
    assert bounded_output(output) == (output, False)


def test_a_long_text_is_cut_and_names_its_length() -> None:
    shown, is_cut = bounded_output({"stdout": "y" * (MAX_TEXT + 1), "exit": 0})
    assert is_cut
    assert shown == {
        "stdout": "y" * MAX_TEXT + f"… (cut after {MAX_TEXT} of {MAX_TEXT + 1} characters)",
        "exit": 0,
    }


def test_long_lists_and_many_files_are_bounded_together() -> None:
    tasks = [{"taskKey": "k"}] * (MAX_ITEMS + 1)
    files = [{"path": f"{number}", "inline": "x" * MAX_TEXT} for number in range(500)]
    shown, is_cut = bounded_output({"raw": {"tasks": tasks}, "filesOut": files, "stdout": "y" * 20_000_000})
    assert is_cut
    assert len(shown["raw"]["tasks"]) == MAX_ITEMS
    assert len(json.dumps(shown)) < 2 * MAX_CHARACTERS
