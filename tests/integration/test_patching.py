"""Patches are remembered before a file changes: whatever is interrupted, every byte comes back."""

import os
from pathlib import Path
from typing import Any

import pytest

from resources.database import Database
from sisu_pipeline.contracts.step_outputs import PlanPatch
from sisu_pipeline.domain.canonical import sha256_hex
from sisu_pipeline.domain.workspace_files import (
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
