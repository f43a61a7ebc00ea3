"""A run's folder: no path leads out of it, and a file changes whole or not at all."""

import os
from pathlib import Path

import pytest

from sisu_pipeline.domain.changes.workspace_files import PathNotAllowed, is_in_git_folder, relative_parts
from sisu_pipeline.workflow.workspace import FileContent, Workspace

ESCAPES = [
    "",
    ".",
    "..",
    "/",
    "/etc/passwd",
    "//etc/passwd",
    "../outside.txt",
    "a/../../outside.txt",
    "a/..",
    "a/./b",
    "./a",
    "a//b",
    "a/",
    "a\0b",
    "a/b\0",
    ".a.txt.sisu-partial",
]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text("secret")
    folder = Workspace(tmp_path / "run")
    folder.create()
    return folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    return tmp_path / "outside"


@pytest.mark.parametrize("path", ESCAPES)
def test_a_path_that_is_not_plain_is_refused_for_reading_writing_and_removing(
    workspace: Workspace, path: str
) -> None:
    for attempt in (workspace.read, workspace.remove, lambda path: workspace.write(path, b"x")):
        with pytest.raises(PathNotAllowed, match="PATCH_PATH_NOT_ALLOWED"):
            attempt(path)
    assert list(workspace.root.iterdir()) == []


@pytest.mark.parametrize("path", ["a", "a/b", "...", "a b/ü.txt", ".hidden", "a\nb", "~", "C:\\x"])
def test_a_plain_path_is_its_components(path: str) -> None:
    assert "/".join(relative_parts(path)) == path


GIT_FOLDERS = [
    *(".git", ".git/config", "a/.GIT/hooks/x", ".Git.", ".git . /x", "git~1", "sub/GIT~1/config"),
    *(".git:stream", ".git::$INDEX_ALLOCATION/config", "a\\.git\\config", "git~1:x"),
    *(".g\u200cit/config", "\ufeff.git", ".gi\u206et/x", "a/.GIT\u202e/x"),
]


@pytest.mark.parametrize("path", GIT_FOLDERS)
def test_a_path_that_some_file_system_takes_for_a_git_folder_is_in_one(path: str) -> None:
    assert is_in_git_folder(path)


@pytest.mark.parametrize(
    "path",
    [".gitignore", ".gitmodules", ".github/x", "a.git/b", "git", "git~2", "git~1x", "git:x", ". git", "\u200c"],
)
def test_a_path_that_only_looks_like_a_git_folder_is_not_in_one(path: str) -> None:
    assert not is_in_git_folder(path)


@pytest.mark.parametrize("name", ["n" * 255, "n" * 242, "ü" * 127, "𝕏" * 63])
def test_a_name_as_long_as_a_file_system_stores_is_written_and_removed(workspace: Workspace, name: str) -> None:
    workspace.write(f"{name}/{name}", b"x", 0o644)
    file = workspace.read(f"{name}/{name}")
    assert file is not None and file.content == b"x"
    workspace.remove(f"{name}/{name}")
    assert list(workspace.root.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("n" * 256, "a name in a path has at most 255 bytes (got 256)"),
        ("ü" * 128, "a name in a path has at most 255 bytes (got 256)"),
        ("a/" * 1024 + "a", "a path has at most 2048 bytes (got 2049)"),
    ],
)
def test_a_path_that_is_too_long_is_refused_with_its_length(workspace: Workspace, path: str, reason: str) -> None:
    with pytest.raises(PathNotAllowed) as refusal:
        workspace.write(path, b"x", 0o644)
    assert str(refusal.value).endswith(f"({reason})")


def test_what_is_written_is_read_back_with_its_mode(workspace: Workspace) -> None:
    content = bytes(range(256)) * 10
    workspace.write("deep/er/file.bin", content, 0o750)
    assert workspace.read("deep/er/file.bin") == FileContent(content, 0o750)
    assert [path.name for path in (workspace.root / "deep" / "er").iterdir()] == ["file.bin"]


def test_a_file_that_is_not_there_is_none(workspace: Workspace) -> None:
    assert workspace.read("nothing") is None
    assert workspace.read("no/folder/either") is None
    workspace.remove("no/folder/either")


def test_removing_a_file_removes_the_folders_it_leaves_empty_and_no_other(workspace: Workspace) -> None:
    workspace.write("a/b/c.txt", b"")
    workspace.write("a/d.txt", b"")
    workspace.remove("a/b/c.txt")
    assert sorted(path.name for path in workspace.root.rglob("*")) == ["a", "d.txt"]
    workspace.remove("a/d.txt")
    assert list(workspace.root.iterdir()) == []


def test_a_symbolic_link_is_neither_read_nor_written(workspace: Workspace, outside: Path) -> None:
    (workspace.root / "link.txt").symlink_to(outside / "secret.txt")
    with pytest.raises(PathNotAllowed):
        workspace.read("link.txt")
    with pytest.raises(PathNotAllowed):
        workspace.write("link.txt", b"overwritten")
    assert (outside / "secret.txt").read_text() == "secret"


def test_a_dangling_link_is_not_written_through(workspace: Workspace, outside: Path) -> None:
    (workspace.root / "link.txt").symlink_to(outside / "new.txt")
    with pytest.raises(PathNotAllowed):
        workspace.write("link.txt", b"planted")
    assert not (outside / "new.txt").exists()


@pytest.mark.parametrize("where", ["up", "up/deeper"])
def test_a_folder_that_is_a_symbolic_link_is_not_entered(workspace: Workspace, outside: Path, where: str) -> None:
    (outside / "deeper").mkdir()
    (workspace.root / "up").symlink_to(outside)
    path = f"{where}/secret.txt"
    with pytest.raises(PathNotAllowed):
        workspace.read(path)
    with pytest.raises(PathNotAllowed):
        workspace.write(path, b"overwritten")
    with pytest.raises(PathNotAllowed):
        workspace.remove(path)
    assert (outside / "secret.txt").read_text() == "secret"


def test_a_link_to_a_folder_inside_is_refused_as_well(workspace: Workspace) -> None:
    workspace.write("real/a.txt", b"a")
    (workspace.root / "alias").symlink_to(workspace.root / "real")
    with pytest.raises(PathNotAllowed):
        workspace.read("alias/a.txt")


def test_a_pipe_is_refused_without_waiting_for_its_other_end(workspace: Workspace) -> None:
    os.mkfifo(workspace.root / "pipe")
    with pytest.raises(PathNotAllowed):
        workspace.read("pipe")
    with pytest.raises(PathNotAllowed):
        workspace.write("pipe", b"x")


def test_a_folder_is_no_file(workspace: Workspace) -> None:
    workspace.write("folder/a.txt", b"a")
    with pytest.raises(PathNotAllowed):
        workspace.read("folder")
    with pytest.raises(PathNotAllowed):
        workspace.write("folder", b"x")


def test_a_file_is_no_folder(workspace: Workspace) -> None:
    workspace.write("file", b"a")
    with pytest.raises(PathNotAllowed):
        workspace.write("file/inner", b"x")
    with pytest.raises(PathNotAllowed):
        workspace.read("file/inner")


def test_writing_a_hard_link_leaves_the_other_name_as_it_was(workspace: Workspace, outside: Path) -> None:
    os.link(outside / "secret.txt", workspace.root / "linked.txt")
    workspace.write("linked.txt", b"changed")
    assert (outside / "secret.txt").read_text() == "secret"


@pytest.mark.parametrize("kind", ["file", "symbolic link", "hard link", "pipe"])
def test_what_lies_where_the_half_written_file_goes_is_not_written_through(
    workspace: Workspace, outside: Path, kind: str
) -> None:
    planted = workspace.root / ".a.txt.sisu-partial"
    if kind == "file":
        planted.write_text("left by a crash")
    elif kind == "symbolic link":
        planted.symlink_to(outside / "secret.txt")
    elif kind == "hard link":
        os.link(outside / "secret.txt", planted)
    else:
        os.mkfifo(planted)
    workspace.write("a.txt", b"new")
    assert workspace.read("a.txt") == FileContent(b"new", 0o644)
    assert (outside / "secret.txt").read_text() == "secret"
    assert not planted.exists()


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.write("a.txt", b"old")

    def full(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        workspace.write("a.txt", b"new")
    assert workspace.read("a.txt") == FileContent(b"old", 0o644)
    assert [path.name for path in workspace.root.iterdir()] == ["a.txt"]


def test_no_descriptor_is_left_open(workspace: Workspace, outside: Path) -> None:
    (workspace.root / "up").symlink_to(outside)

    def exercise() -> None:
        workspace.write("a/b/c.txt", b"x")
        workspace.read("a/b/c.txt")
        workspace.read("a/b/missing/d.txt")
        with pytest.raises(PathNotAllowed):
            workspace.write("up/secret.txt", b"x")
        workspace.remove("a/b/c.txt")

    exercise()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        exercise()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
