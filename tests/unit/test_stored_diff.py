"""A stored diff is used exactly when it is the change: it costs a fraction of the comparison."""

import time

from hypothesis import given
from hypothesis import strategies as st

from sisu_pipeline.domain.changes.file_diff import FileState, unified_diff
from sisu_pipeline.domain.changes.stored_diff import is_exact
from tests.unit.test_file_diff import LINES, PATHS, STATES, TEXTS, applied

TEXT_STATES = st.none() | st.builds(FileState, TEXTS, st.sampled_from(["100644", "100755"]))


@given(PATHS, STATES, STATES)
def test_every_computed_diff_with_hunks_is_exact(path: str, old: FileState | None, new: FileState | None) -> None:
    if old is None and new is None:
        return
    diff = unified_diff(path, old, new)
    assert is_exact(diff, path, old, new) == ("\n@@ " in diff and "\nGIT binary patch" not in diff)


@given(st.data())
def test_a_changed_diff_is_exact_only_if_git_makes_the_same_of_it(data: st.DataObject) -> None:
    old, new = data.draw(st.builds(FileState, TEXTS)), data.draw(st.builds(FileState, TEXTS))
    lines = unified_diff("a.txt", old, new).split("\n")
    place = data.draw(st.integers(0, len(lines) - 1))
    line = data.draw(LINES.map(lambda drawn: "".join(drawn).rstrip("\n")))
    mark = data.draw(st.sampled_from([" ", "+", "-", "@", ""]))
    changed = "\n".join([*lines[:place], mark + line, *lines[place + data.draw(st.sampled_from([0, 1])) :]])
    if is_exact(changed, "a.txt", old, new):
        assert applied(changed, {"a.txt": old}) == {"a.txt": new}


@given(PATHS, TEXT_STATES, TEXT_STATES, TEXT_STATES)
def test_the_diff_of_another_change_is_not_exact(
    path: str, old: FileState | None, new: FileState | None, other: FileState | None
) -> None:
    if (old is None and new is None) or (old is None and other is None) or new == other:
        return
    assert not is_exact(unified_diff(path, old, other), path, old, new)


def test_checking_the_diff_of_a_long_file_is_fast() -> None:
    old = "".join(f"line {number} of it\n" for number in range(10_000))
    new = old.replace("00 of it\n", "00 of that\n")
    states = FileState(old.encode()), FileState(new.encode())
    started = time.perf_counter()
    diff = unified_diff("a.txt", *states)
    computed = time.perf_counter()
    assert is_exact(diff, "a.txt", *states)
    assert time.perf_counter() - computed < (computed - started) / 3
