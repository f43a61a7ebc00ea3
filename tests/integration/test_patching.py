"""Patches are remembered before a file changes: whatever is interrupted, every byte comes back."""

import itertools
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from resources.database import Database
from sisu_pipeline.contracts.step_outputs import PatchOp, PlanPatch
from sisu_pipeline.domain.canonical import sha256_hex
from sisu_pipeline.domain.changes.workspace_files import (
    PathNotAllowed,
    WorkspaceFilesInvalid,
    intent_files,
)
from sisu_pipeline.steps.apply_patch import AppliedPatch
from sisu_pipeline.workflow import patching
from sisu_pipeline.workflow.patching import PatchMismatch
from sisu_pipeline.workflow.workspace import Workspace
from tests.builders import a_run, an_intent

BINARY = bytes(range(256)) + b"\r\n\0"


class Patching:
    """One run's workspace with the patching functions bound to it."""

    def __init__(self, database: Database, root: Path) -> None:
        self.database = database
        with database.connect() as connection:
            self.run_id = a_run(connection).id
        self.workspace = patching.workspace_of(root, self.run_id)
        self.workspace.create()

    def apply(self, *patches: PlanPatch) -> tuple[AppliedPatch, ...]:
        return patching.apply(self.database, self.workspace, self.run_id, list(patches))

    def roll_back(self) -> int:
        return patching.roll_back(self.database, self.workspace, self.run_id)

    def files(self) -> dict[str, tuple[bytes, int]]:
        """Every file: content and permission bits."""
        root = self.workspace.root
        return {
            str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mode & 0o7777)
            for path in root.rglob("*")
            if path.is_file()
        }

    def history(self) -> list[dict[str, Any]]:
        with self.database.connect() as connection:
            return connection.execute(
                """SELECT patch_index, target_path, applied_at IS NOT NULL AS applied,
                          rolled_back_at IS NOT NULL AS rolled_back
                   FROM app.patch_history ORDER BY patch_index"""
            ).fetchall()


@pytest.fixture
def run(clean_database: Database, tmp_path: Path) -> Patching:
    return Patching(clean_database, tmp_path)


def a_patch(path: str, text: str, diff: str = "") -> PlanPatch:
    return PlanPatch(target_path=path, postimage_content=text, diff_text=diff)


def test_rolling_back_restores_every_byte_and_mode_and_removes_what_was_new(run: Patching) -> None:
    run.workspace.write("bin/tool", BINARY, 0o755)
    run.workspace.write("empty.txt", b"")
    run.workspace.write("secret.txt", b"s\n", 0o600)
    before = run.files()
    applied = run.apply(
        a_patch("bin/tool", "#!/bin/sh\n"),
        a_patch("empty.txt", "no longer"),
        a_patch("secret.txt", ""),
        a_patch("new/folder/file.txt", "new"),
    )
    assert [patch.preimage_hash for patch in applied] == [
        sha256_hex(BINARY),
        sha256_hex(""),
        sha256_hex("s\n"),
        None,
    ]
    assert run.files() == {
        "bin/tool": (b"#!/bin/sh\n", 0o755),
        "empty.txt": (b"no longer", 0o644),
        "secret.txt": (b"", 0o600),
        "new/folder/file.txt": (b"new", 0o644),
    }
    assert run.roll_back() == 4
    assert run.files() == before
    assert not (run.workspace.root / "new").exists()


def test_patches_of_one_file_build_on_each_other_and_are_rolled_back_in_reverse(run: Patching) -> None:
    run.workspace.write("a.txt", b"0")
    first, second, third = run.apply(a_patch("a.txt", "1"), a_patch("a.txt", "2"), a_patch("a.txt", "0"))
    assert second.preimage_hash == first.postimage_hash
    assert third.preimage_hash == second.postimage_hash
    run.roll_back()
    assert run.files() == {"a.txt": (b"0", 0o644)}


def test_a_patch_is_described_by_hashes_of_raw_text(run: Patching) -> None:
    (applied,) = run.apply(a_patch("a.txt", "né", diff="none"))
    assert applied == AppliedPatch(0, "a.txt", None, sha256_hex("né"), sha256_hex("none"), mode="100644")


def test_applying_again_changes_nothing_and_returns_the_same(run: Patching) -> None:
    patches = a_patch("a.txt", "1"), a_patch("b.txt", "2")
    first = run.apply(*patches)
    before = run.files(), run.history()
    assert run.apply(*patches) == first
    assert (run.files(), run.history()) == before


def test_rolling_back_again_changes_nothing(run: Patching) -> None:
    run.apply(a_patch("a.txt", "1"))
    assert run.roll_back() == 1
    assert run.roll_back() == 0
    assert run.files() == {}


class Crash(BaseException):
    """The process dies here."""


@pytest.mark.parametrize("moment", ["before the write", "after the write"])
def test_a_crash_between_recording_and_marking_is_rolled_back(
    run: Patching, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    run.workspace.write("a.txt", BINARY)
    _crash_while_writing("a.txt", moment, run, monkeypatch)
    assert [(row["applied"], row["rolled_back"]) for row in run.history()] == [(False, False)]
    run.roll_back()
    assert run.files() == {"a.txt": (BINARY, 0o644)}


@pytest.mark.parametrize("moment", ["before the write", "after the write"])
def test_a_crash_between_recording_and_marking_is_repaired_by_applying_again(
    run: Patching, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    run.workspace.write("a.txt", BINARY)
    _crash_while_writing("a.txt", moment, run, monkeypatch)
    (applied,) = run.apply(a_patch("a.txt", "1"))
    assert applied.preimage_hash == sha256_hex(BINARY)
    assert run.files() == {"a.txt": (b"1", 0o644)}
    run.roll_back()
    assert run.files() == {"a.txt": (BINARY, 0o644)}


def _crash_while_writing(path: str, moment: str, run: Patching, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Workspace.write

    def dies(self: Workspace, path: str, content: bytes, mode: int = 0o644) -> None:
        if moment == "after the write":
            write(self, path, content, mode)
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(Workspace, "write", dies)
        with pytest.raises(Crash):
            run.apply(a_patch(path, "1"))


def test_a_crash_during_a_rollback_is_repaired_by_rolling_back_again(
    run: Patching, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.workspace.write("a.txt", b"0")
    run.workspace.write("b.txt", b"0")
    before = run.files()
    run.apply(a_patch("a.txt", "1"), a_patch("b.txt", "1"), a_patch("a.txt", "2"))
    write, written = Workspace.write, []

    def dies_at_the_second(self: Workspace, path: str, content: bytes, mode: int = 0o644) -> None:
        write(self, path, content, mode)
        written.append(path)
        if len(written) == 2:
            raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(Workspace, "write", dies_at_the_second)
        with pytest.raises(Crash):
            run.roll_back()
    run.roll_back()
    assert run.files() == before
    assert all(row["rolled_back"] for row in run.history())


def test_patches_applied_again_after_a_rollback_are_rolled_back_again(run: Patching) -> None:
    run.workspace.write("a.txt", b"0")
    for _ in range(3):
        run.apply(a_patch("a.txt", "1"))
        assert run.files() == {"a.txt": (b"1", 0o644)}
        assert run.roll_back() == 1
        assert run.files() == {"a.txt": (b"0", 0o644)}


def test_a_file_that_was_changed_before_its_patch_is_written_stops_the_patch(
    run: Patching, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.workspace.write("a.txt", b"0")
    _crash_while_writing("a.txt", "before the write", run, monkeypatch)
    run.workspace.write("a.txt", b"someone else's")
    with pytest.raises(PatchMismatch, match=r"^PREIMAGE_MISMATCH:a\.txt$"):
        run.apply(a_patch("a.txt", "1"))
    assert run.files() == {"a.txt": (b"someone else's", 0o644)}


def test_a_file_that_was_changed_after_its_patch_is_not_overwritten_by_a_rollback(run: Patching) -> None:
    run.workspace.write("a.txt", b"0")
    run.apply(a_patch("a.txt", "1"))
    run.workspace.write("a.txt", b"someone else's")
    with pytest.raises(PatchMismatch, match=r"^POSTIMAGE_MISMATCH:a\.txt$"):
        run.roll_back()
    assert run.files() == {"a.txt": (b"someone else's", 0o644)}
    assert not run.history()[0]["rolled_back"]


def test_a_missing_workspace_is_restored_to_its_state_before_the_patches(run: Patching, tmp_path: Path) -> None:
    run.workspace.write("a.txt", BINARY, 0o755)
    run.apply(a_patch("a.txt", "1"), a_patch("new.txt", "1"))
    run.workspace.root.rename(tmp_path / "elsewhere")
    run.roll_back()
    assert run.files() == {"a.txt": (BINARY, 0o755)}


def test_a_run_without_patches_gets_no_folder_by_rolling_back(clean_database: Database, tmp_path: Path) -> None:
    assert patching.roll_back(clean_database, patching.workspace_of(tmp_path, "run_1"), "run_1") == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["../out.txt", "/tmp/out.txt", "a/../../out.txt", "a\0b", "./a.txt"])
def test_a_patch_outside_the_workspace_is_refused_and_not_recorded(run: Patching, path: str) -> None:
    with pytest.raises(PathNotAllowed, match="PATCH_PATH_NOT_ALLOWED"):
        run.apply(a_patch("a.txt", "1"), a_patch(path, "planted"))
    assert [row["target_path"] for row in run.history()] == ["a.txt"]
    run.roll_back()
    assert run.files() == {}


def test_a_patch_through_a_link_or_onto_a_pipe_is_refused(run: Patching, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (run.workspace.root / "up").symlink_to(outside)
    (run.workspace.root / "file").symlink_to(outside / "x.txt")
    os.mkfifo(run.workspace.root / "pipe")
    for path in ("up/x.txt", "file", "pipe"):
        with pytest.raises(PathNotAllowed):
            run.apply(a_patch(path, "planted"))
    assert list(outside.iterdir()) == []
    assert run.history() == []


def test_a_link_planted_after_the_patch_is_not_followed_when_rolling_back(run: Patching, tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("1")
    run.apply(a_patch("a.txt", "1"))
    (run.workspace.root / "a.txt").unlink()
    (run.workspace.root / "a.txt").symlink_to(outside)
    with pytest.raises(PathNotAllowed):
        run.roll_back()
    assert outside.read_text() == "1"


def test_the_workspace_is_seeded_with_the_intents_files_once(run: Patching) -> None:
    intent = an_intent(inputs={"files": {"src/a.py": "a = 1\n", "b.txt": "é"}})
    patching.seed_workspace(run.workspace, intent)
    assert run.files() == {"src/a.py": (b"a = 1\n", 0o644), "b.txt": ("é".encode(), 0o644)}
    run.apply(a_patch("b.txt", "patched"))
    patching.seed_workspace(run.workspace, intent)
    assert run.files()["b.txt"] == (b"patched", 0o644)


@pytest.mark.parametrize("files", [["a"], "a", 1, {"a": 1}, {"a": None}, {"a": {"text": ""}}])
def test_files_that_do_not_map_paths_to_text_are_refused(files: Any) -> None:
    with pytest.raises(WorkspaceFilesInvalid):
        intent_files(an_intent(inputs={"files": files}))


def _change(path: str, op: PatchOp | None = None, old: bytes | None = None, **more: Any) -> PlanPatch:
    old_sha256 = None if old is None else sha256_hex(old)
    return PlanPatch(target_path=path, op=op, old_sha256=old_sha256, **more)


TOOL = b"#!/bin/sh\n"
EVERY_OPERATION = (
    _change("gone/file.txt", PatchOp.DELETE, b"gone"),
    _change("data", PatchOp.MODIFY, BINARY, content_base64="/w==", mode="100755"),
    _change("plain", PatchOp.RENAME, TOOL, from_path="bin/tool", mode="100644"),
    _change("moved/kept", PatchOp.RENAME, b"kept", from_path="kept"),
    _change("script", PatchOp.MODIFY, b"script", mode="100755"),
    _change("new", PatchOp.CREATE, postimage_content="new", mode="100755"),
    _change("file", PatchOp.DELETE, b"file"),
    _change("file/inner", PatchOp.CREATE, postimage_content="inner"),
    _change("folder", PatchOp.RENAME, b"inner", from_path="folder/inner"),
    _change("deep/deeper", PatchOp.RENAME, b"deep", from_path="deep"),
)
AFTER_EVERY_OPERATION = {
    "data": (b"\xff", 0o755),
    "plain": (TOOL, 0o644),
    "moved/kept": (b"kept", 0o640),
    "script": (b"script", 0o755),
    "new": (b"new", 0o755),
    "file/inner": (b"inner", 0o644),
    "folder": (b"inner", 0o644),
    "deep/deeper": (b"deep", 0o644),
}


@pytest.fixture
def filled(run: Patching) -> Patching:
    """A workspace that every operation has a file in."""
    run.workspace.write("gone/file.txt", b"gone")
    run.workspace.write("data", BINARY)
    run.workspace.write("bin/tool", TOOL, 0o755)
    run.workspace.write("kept", b"kept", 0o640)
    for path in ("script", "file", "deep"):
        run.workspace.write(path, path.encode())
    run.workspace.write("folder/inner", b"inner")
    return run


def test_every_operation_is_applied_and_rolled_back_to_every_byte_and_mode(filled: Patching) -> None:
    before = filled.files()
    applied = filled.apply(*EVERY_OPERATION)
    assert filled.files() == AFTER_EVERY_OPERATION
    assert not (filled.workspace.root / "gone").exists()
    described = [(patch.op, patch.from_path, patch.old_mode, patch.mode) for patch in applied[:6]]
    assert described == [
        ("delete", None, "100644", None),
        ("modify", None, "100644", "100755"),
        ("rename", "bin/tool", "100755", "100644"),
        ("rename", "kept", "100644", "100644"),
        ("modify", None, "100644", "100755"),
        ("create", None, None, "100755"),
    ]
    assert filled.apply(*EVERY_OPERATION) == applied
    assert filled.roll_back() == len(EVERY_OPERATION)
    assert filled.files() == before
    assert filled.apply(*EVERY_OPERATION) == applied
    assert filled.files() == AFTER_EVERY_OPERATION


@pytest.mark.parametrize("method", ["write", "remove"])
@pytest.mark.parametrize("lost_after", range(12))
def test_an_application_interrupted_anywhere_is_completed_and_rolled_back(
    filled: Patching, monkeypatch: pytest.MonkeyPatch, method: str, lost_after: int
) -> None:
    before = filled.files()
    with monkeypatch.context() as patch:
        _die_at(patch, method, lost_after)
        with suppress(Crash):
            filled.apply(*EVERY_OPERATION)
    filled.apply(*EVERY_OPERATION)
    assert filled.files() == AFTER_EVERY_OPERATION
    with monkeypatch.context() as patch:
        _die_at(patch, method, lost_after)
        with suppress(Crash):
            filled.roll_back()
    filled.roll_back()
    assert filled.files() == before


def _die_at(monkeypatch: pytest.MonkeyPatch, method: str, count: int) -> None:
    """Die at a call of a method of the workspace, after its effect if `count` is odd."""
    works, calls = getattr(Workspace, method), itertools.count()

    def dies(self: Workspace, *arguments: Any) -> None:
        is_last = next(calls) == count // 2
        if not is_last or count % 2:
            works(self, *arguments)
        if is_last:
            raise Crash

    monkeypatch.setattr(Workspace, method, dies)


def test_a_missing_workspace_is_restored_after_every_operation(filled: Patching, tmp_path: Path) -> None:
    before = filled.files()
    filled.apply(*EVERY_OPERATION)
    filled.workspace.root.rename(tmp_path / "elsewhere")
    filled.roll_back()
    assert filled.files() == before


def test_seeding_a_patched_workspace_again_brings_no_deleted_file_back_for_good(run: Patching) -> None:
    files = {"gone": "1", "file": "2", "folder/inner": "3", "old": "4"}
    intent = an_intent(inputs={"files": files})
    patches = (
        _change("gone", PatchOp.DELETE, b"1"),
        _change("file", PatchOp.DELETE, b"2"),
        _change("file/inner", PatchOp.CREATE, postimage_content="new"),
        _change("folder", PatchOp.RENAME, b"3", from_path="folder/inner"),
        _change("new", PatchOp.RENAME, b"4", from_path="old"),
    )
    after = {"file/inner": (b"new", 0o644), "folder": (b"3", 0o644), "new": (b"4", 0o644)}
    for _ in range(3):
        patching.seed_workspace(run.workspace, intent)
        run.apply(*patches)
        assert run.files() == after
    patching.seed_workspace(run.workspace, intent)
    run.roll_back()
    assert run.files() == {path: (text.encode(), 0o644) for path, text in files.items()}


def test_a_folder_that_an_earlier_database_left_is_emptied_before_the_first_patch_only(run: Patching) -> None:
    intent = an_intent(inputs={"files": {"a.txt": "1"}})
    run.workspace.write("a.txt", b"patched by the earlier run")
    run.workspace.write("left/over.txt", b"")
    patching.prepare(run.database, run.workspace, run.run_id, intent)
    assert run.files() == {"a.txt": (b"1", 0o644)}
    run.apply(_change("a.txt", PatchOp.MODIFY, b"1", postimage_content="2"))
    patching.prepare(run.database, run.workspace, run.run_id, intent)
    assert run.files() == {"a.txt": (b"2", 0o644)}


def test_files_of_an_intent_that_are_folders_of_each_other_are_refused(run: Patching) -> None:
    with pytest.raises(PathNotAllowed):
        patching.seed_workspace(run.workspace, an_intent(inputs={"files": {"a": "", "a/b": ""}}))


@pytest.mark.parametrize(
    "patch",
    [
        _change("a.txt", PatchOp.MODIFY, b"other", postimage_content="x"),
        _change("a.txt", PatchOp.CREATE, postimage_content="x"),
        _change("a.txt", PatchOp.DELETE, b"other"),
        _change("none", PatchOp.DELETE, b"a"),
        _change("b.txt", PatchOp.RENAME, b"other", from_path="a.txt"),
        _change("b.txt", PatchOp.RENAME, b"a", from_path="none"),
    ],
)
def test_a_patch_of_another_file_than_the_plan_names_changes_and_records_nothing(
    run: Patching, patch: PlanPatch
) -> None:
    run.workspace.write("a.txt", b"a")
    with pytest.raises(PatchMismatch, match="PREIMAGE_MISMATCH"):
        run.apply(patch)
    assert run.files() == {"a.txt": (b"a", 0o644)}
    assert run.history() == []


@pytest.mark.parametrize(("path", "moment"), [("old", "before"), ("new", "before"), ("new", "after")])
def test_a_file_that_something_else_changed_stops_a_rename_and_its_rollback(
    run: Patching, monkeypatch: pytest.MonkeyPatch, path: str, moment: str
) -> None:
    run.workspace.write("old", b"1")
    rename = _change("new", PatchOp.RENAME, b"1", from_path="old")
    if moment == "before":
        with monkeypatch.context() as patch:
            _die_at(patch, "remove", 0)
            with pytest.raises(Crash):
                run.apply(rename)
    else:
        run.apply(rename)
    run.workspace.write(path, b"someone else's")
    with pytest.raises(PatchMismatch):
        run.apply(rename)
    with pytest.raises(PatchMismatch):
        run.roll_back()
    assert run.files()[path] == (b"someone else's", 0o644)
