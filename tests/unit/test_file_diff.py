"""Real git applies every diff of ours, forward and back, and ends in exactly the bytes and mode of the change."""

import random
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from sisu_pipeline.contracts.step_outputs import Plan
from sisu_pipeline.domain.canonical import git_blob_id, sha256_hex
from sisu_pipeline.domain.changes.file_diff import FileState, remarks, unified_diff
from sisu_pipeline.domain.changes.plan_changes import changes_of
from sisu_pipeline.domain.changes.tree_patches import patches_between

LINES = st.lists(
    st.sampled_from(["a\n", "b\n", "b\r\n", "ü\n", "\n", " a\n", "\\ No newline\n", "--- a/x\n"]), max_size=12
)
TEXTS = st.builds(lambda lines, end: ("".join(lines) + end).encode(), LINES, st.sampled_from(["", "end", "\r"]))
BYTES = st.one_of(TEXTS, st.binary(max_size=300))
STATES = st.none() | st.builds(FileState, BYTES, st.sampled_from(["100644", "100755"]))
PATHS = st.sampled_from(["a.txt", "dir/b c.txt", 'q"uote\\.txt', "ü/ñ.txt", "tab\tname", "new\nline"])


def applied(diff: str, states: dict[str, FileState | None], *options: str) -> dict[str, FileState | None]:
    """What git makes of the files; each named file is there or not afterwards."""
    with TemporaryDirectory(prefix="sisu-git-") as folder:
        root = Path(folder)
        for path, state in states.items():
            if state is not None:
                place = root / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(state.content)
                place.chmod(0o755 if state.mode == "100755" else 0o644)
        done = subprocess.run(
            ["git", "apply", "--whitespace=nowarn", *options, "-"],
            cwd=root,
            input=diff.encode(),
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode() + diff
        return {path: _read(root / path) for path in states}


def _read(place: Path) -> FileState | None:
    if not place.is_file():
        return None
    return FileState(place.read_bytes(), "100755" if place.stat().st_mode & 0o100 else "100644")


@settings(max_examples=150)
@given(PATHS, STATES, STATES)
def test_git_applies_the_diff_and_takes_it_back(path: str, old: FileState | None, new: FileState | None) -> None:
    if old is None and new is None:
        return
    diff = unified_diff(path, old, new)
    if old == new:
        assert diff == ""
        return
    assert applied(diff, {path: old}) == {path: new}
    assert applied(diff, {path: new}, "--reverse") == {path: old}


@settings(max_examples=50)
@given(STATES.filter(lambda each: each is not None), STATES.filter(lambda each: each is not None))
def test_git_applies_a_rename_with_its_change(old: FileState, new: FileState) -> None:
    diff = unified_diff("new name", old, new, "old name")
    assert applied(diff, {"old name": old, "new name": None}) == {"old name": None, "new name": new}


TREE_PATHS = st.sampled_from(["a", "a/x", "a/y z", "b", "b/ü", 'c/"q"\\', "c/new\nline", "d"])
TREES = st.dictionaries(
    TREE_PATHS, st.builds(FileState, BYTES, st.sampled_from(["100644", "100755"])), max_size=5
).filter(lambda tree: not any(other.startswith(f"{path}/") for path in tree for other in tree))
MOVES = st.dictionaries(TREE_PATHS, TREE_PATHS, max_size=3)


@settings(max_examples=150, suppress_health_check=[HealthCheck.filter_too_much])
@given(TREES, TREES, MOVES)
def test_git_applies_the_diffs_of_a_whole_plan_and_takes_them_back(
    before: dict[str, FileState], more: dict[str, FileState], moves: dict[str, str]
) -> None:
    after = {moves.get(path, path): state for path, state in before.items()} | more
    assume(not any(other.startswith(f"{path}/") for path in after for other in after))
    plan = Plan(goal="", design=[], files=[], risks=[], tests=[], patch_plan=patches_between(before, after))
    diff = "".join(change.diff for change in changes_of(plan, before))
    paths = dict.fromkeys({*before, *after})
    if before == after:
        assert diff == ""
        return
    assert applied(diff, paths | before) == paths | after
    assert applied(diff, paths | after, "--reverse") == paths | before


def test_blob_ids_are_gits_own(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"any\0content\n")
    done = subprocess.run(["git", "hash-object", str(file)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == git_blob_id(b"any\0content\n")


def test_a_diff_reads_as_people_know_it() -> None:
    old = FileState(b"".join(b"%d\n" % number for number in range(9)))
    new = FileState(old.content.replace(b"4\n", b"four\n"))
    assert unified_diff("a", old, new).splitlines()[2:] == [
        "--- a/a", "+++ b/a", "@@ -2,7 +2,7 @@", " 1", " 2", " 3", "-4", "+four", " 5", " 6", " 7",
    ]  # fmt: skip


def test_a_large_file_with_one_changed_line_is_compared_quickly() -> None:
    lines = [b"same line\n"] * 100_000
    old = FileState(b"".join(lines))
    new = FileState(b"".join([*lines[:50_000], b"other\n", *lines[50_000:]]))
    assert unified_diff("big", old, new).count("\n") == 12


@pytest.mark.parametrize(("lines", "different"), [(1990, 2), (1990, 10), (20_000, 300), (30_000, 15_000)])
def test_texts_of_repeated_lines_are_compared_quickly_and_exactly(lines: int, different: int) -> None:
    numbers = random.Random(1)
    old, new = (
        FileState("".join(f"{numbers.randrange(different)}\n" for _ in range(lines)).encode()) for _ in range(2)
    )
    began = time.process_time()
    diffs = [unified_diff("a.txt", old, new) for _ in range(max(1, 20_000 // lines))]
    assert time.process_time() - began < 3
    assert applied(diffs[0], {"a.txt": old}) == {"a.txt": new}
    assert applied(diffs[0], {"a.txt": new}, "--reverse") == {"a.txt": old}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (b"a\r\n", b"a\n", ["line endings change from CRLF to LF"]),
        (b"a\nb\r\n", b"a\nb\n", ["line endings change from mixed to LF"]),
        (b"a\n", b"a", ["the last line has no line end"]),
        (b"a\n", "a\u202eb\u200b\n".encode(), ["hidden characters: \\u200b \\u202e"]),
        (b"a\n", "a\u00a0b\n".encode(), ["hidden characters: \\xa0"]),
        (b"a\n", b"b\x1b[2K\n", ["hidden characters: \\x1b"]),
        (
            b"a\n",
            b"\0",
            [
                f"the content is binary: 2 bytes, sha256 {sha256_hex(b'a' + bytes([10]))}"
                f" → 1 bytes, sha256 {sha256_hex(bytes(1))}"
            ],
        ),
        (b"a\n", b"b\n", []),
    ],
)
def test_what_a_reader_could_overlook_is_remarked(old: bytes, new: bytes, expected: list[str]) -> None:
    assert remarks(FileState(old), FileState(new)) == expected


def test_modes_are_remarked() -> None:
    assert remarks(FileState(b""), FileState(b"", "100755")) == ["the mode changes from 100644 to 100755"]
    assert remarks(None, FileState(b"x\n", "100755")) == ["the file is executable"]
