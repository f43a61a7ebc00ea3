"""Scratch copies: what an agent gets, and what counts as its change."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from resources.git.git_command import Git
from resources.git.git_errors import GitRefused
from resources.git.git_trees import apply_changes_to_tree, tree_of
from resources.git.scratch_folders import AGENT_FILES, ScratchLimits, checkout_scratch, tree_changes
from sisu_pipeline.domain.changes.file_diff import FileState
from tests.integration.git.repositories import address_of, git, git_text, make_repository, mirrors_in

_FILES: dict[str, str | bytes] = {
    "README.md": "one\n",
    "AGENTS.md": "be careful\n",
    "src/app.py": "x = 1\n",
    "src/old.py": "gone soon\n",
    "data.bin": bytes(range(256)),
    ".opencode/plugin/x.js": "evil()",
    "opencode.json": "{}",
    "src/.claude/settings.json": "{}",
    ".mcp.json": "{}",
}


class Scratch:
    """A scratch of a small repository, and our git on its mirror."""

    def __init__(self, folder: Path, subdirectory: str | None = None) -> None:
        make_repository(folder / "project", _FILES)
        mirrors, address = mirrors_in(folder), address_of(folder / "project")
        self.commit = mirrors.resolve_ref(address, "main")
        self.git: Git = mirrors.git(address)
        self.folder = folder / "scratch"
        self.subdirectory = subdirectory
        checkout_scratch(self.git, self.commit, self.folder, subdirectory)

    def changes(self, limits: ScratchLimits | None = None) -> dict[str, FileState | None]:
        """What the agent changed."""
        return tree_changes(self.git, self.commit, self.folder, self.subdirectory, limits).changes


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path)


def test_a_scratch_has_the_files_but_no_configuration_of_agents(scratch: Scratch) -> None:
    found = {str(path.relative_to(scratch.folder)) for path in scratch.folder.rglob("*") if path.is_file()}
    assert {path for path in found if not path.startswith(".git/")} == {
        *("README.md", "AGENTS.md", "src/app.py", "src/old.py", "data.bin")
    }
    assert scratch.changes() == {}


def test_a_scratch_has_one_clean_commit_and_no_way_back_to_the_mirror(scratch: Scratch) -> None:
    assert git_text(scratch.folder, "rev-list", "--count", "--all") == "1"
    assert git_text(scratch.folder, "status", "--porcelain") == ""
    assert not (scratch.folder / ".git/objects/info/alternates").exists()
    texts = [file.read_bytes() for file in (scratch.folder / ".git").rglob("*") if file.is_file()]
    assert not any(str(scratch.git.repository).encode() in text for text in texts)
    # Nor can the agent restore what it was not given.
    names = git_text(scratch.folder, "ls-tree", "-r", "--name-only", "HEAD").split("\n")
    assert not [name for name in names if not AGENT_FILES.isdisjoint(name.split("/"))]


def test_created_modified_deleted_and_executable_files_are_changes(scratch: Scratch) -> None:
    (scratch.folder / "new/deep").mkdir(parents=True)
    (scratch.folder / "new/deep/file.txt").write_bytes(b"a\r\nb")
    (scratch.folder / "src/app.py").write_text("x = 2\n")
    (scratch.folder / "src/old.py").unlink()
    (scratch.folder / "README.md").chmod(0o755)
    (scratch.folder / "data.bin").write_bytes(b"\0\xff")
    assert scratch.changes() == {
        "README.md": FileState(b"one\n", "100755"),
        "data.bin": FileState(b"\0\xff"),
        "new/deep/file.txt": FileState(b"a\r\nb"),
        "src/app.py": FileState(b"x = 2\n"),
        "src/old.py": None,
    }


def test_the_changes_make_the_tree_that_git_makes_of_the_scratch(scratch: Scratch) -> None:
    (scratch.folder / "src/old.py").unlink()
    (scratch.folder / "src/old.py").mkdir()
    (scratch.folder / "src/old.py/now-a-folder").write_text("1\n")
    made = apply_changes_to_tree(scratch.git, tree_of(scratch.git, scratch.commit), scratch.changes())
    project = scratch.folder.parent / "project"
    (project / "src/old.py").unlink()
    make_repository(project, {"src/old.py/now-a-folder": "1\n"})
    assert made == git_text(project, "rev-parse", "HEAD^{tree}")


def test_paths_are_below_the_subdirectory(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path, "src")
    assert sorted(path.name for path in scratch.folder.iterdir()) == [".git", "app.py", "old.py"]
    (scratch.folder / "app.py").write_text("x = 3\n")
    assert scratch.changes() == {"app.py": FileState(b"x = 3\n")}
    made = apply_changes_to_tree(scratch.git, tree_of(scratch.git, scratch.commit), scratch.changes(), "src")
    project = tmp_path / "project"
    make_repository(project, {"src/app.py": "x = 3\n"})
    assert made == git_text(project, "rev-parse", "HEAD^{tree}")


def test_files_of_agents_and_ignored_files_are_reported_and_no_changes(scratch: Scratch) -> None:
    (scratch.folder / ".gitignore").write_text("*.log\nbuild/\n")
    (scratch.folder / "trace.log").write_text("x")
    (scratch.folder / "build").mkdir()
    (scratch.folder / "build/out").write_text("x")
    (scratch.folder / ".opencode").mkdir()
    (scratch.folder / ".opencode/state").write_text("x")
    found = tree_changes(scratch.git, scratch.commit, scratch.folder)
    assert set(found.changes) == {".gitignore"}
    assert set(found.ignored) == {"trace.log", "build/"}
    assert found.agent_files == (".opencode",)


def _link(folder: Path) -> None:
    (folder / "link").symlink_to("/etc/passwd")


def _replaced_by_link(folder: Path) -> None:
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to("/etc/passwd")


def _embedded(folder: Path) -> None:
    make_repository(folder / "inner", {"hidden": "1"})


def _replaced_by_fifo(folder: Path) -> None:
    (folder / "README.md").unlink()
    os.mkfifo(folder / "README.md")


def _pointer(folder: Path) -> None:
    (folder / "big").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def _strange_name(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9")).write_text("x")


def _too_much(folder: Path) -> None:
    (folder / "big").write_bytes(b"x" * 2_000_000)


def _sparse_giant(folder: Path) -> None:
    with (folder / "giant").open("wb") as file:
        file.truncate(1 << 40)


@pytest.mark.parametrize(
    ("leave", "sentence"),
    [
        (_link, "link is a symbolic link"),
        (_replaced_by_link, r"README\.md is a symbolic link"),
        (_embedded, "inner is a submodule or an embedded repository"),
        (_replaced_by_fifo, "can only add regular files"),
        (_pointer, "big is stored in Git LFS"),
        (_strange_name, "is not UTF-8"),
        (_too_much, "more than 1000000 bytes"),
        (_sparse_giant, "the scratch has more than"),
    ],
)
def test_what_is_no_regular_file_of_moderate_size_is_refused(
    scratch: Scratch, leave: Callable[[Path], None], sentence: str
) -> None:
    leave(scratch.folder)
    with pytest.raises(GitRefused, match=sentence):
        scratch.changes(ScratchLimits(changed_bytes=1_000_000))


@pytest.mark.parametrize("how", ["deleted", "a link", "a file", "another repository"])
def test_the_scratchs_own_git_folder_does_not_matter(scratch: Scratch, how: str) -> None:
    folder = scratch.folder / ".git"
    git(scratch.folder.parent, "-C", str(scratch.folder), "config", "core.worktree", "/etc")
    folder.rename(scratch.folder.parent / "away")
    if how == "a link":
        folder.symlink_to(scratch.folder.parent / "project/.git")
    elif how == "a file":
        folder.write_text(f"gitdir: {scratch.folder.parent}/project/.git\n")
    elif how == "another repository":
        (scratch.folder / "extra.txt").write_text("1")
        git(scratch.folder, "init", "--quiet")
        (scratch.folder / "extra.txt").unlink()
    (scratch.folder / "README.md").write_text("changed\n")
    assert scratch.changes() == {"README.md": FileState(b"changed\n")}


def test_a_scratch_of_another_user_can_be_read(scratch: Scratch) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a folder to another user")
    (scratch.folder / "README.md").write_text("changed\n")
    for path in (scratch.folder, *scratch.folder.rglob("*")):
        os.lchown(path, 4242, 4242)
    assert scratch.changes() == {"README.md": FileState(b"changed\n")}


def test_nothing_of_an_agent_goes_into_the_mirror(scratch: Scratch) -> None:
    before = sorted(path.name for path in (scratch.git.repository / "objects").rglob("*") if path.is_file())
    (scratch.folder / "README.md").write_text("changed\n")
    scratch.changes()
    after = sorted(path.name for path in (scratch.git.repository / "objects").rglob("*") if path.is_file())
    assert before == after


def test_a_repository_of_two_thousand_files_is_ready_within_a_second(tmp_path: Path) -> None:
    make_repository(
        tmp_path / "project", {f"d{number % 40}/f{number}.py": f"x = {number}\n" for number in range(2000)}
    )
    mirrors, address = mirrors_in(tmp_path), address_of(tmp_path / "project")
    commit = mirrors.resolve_ref(address, "main")
    began = time.process_time()
    checkout_scratch(mirrors.git(address), commit, tmp_path / "scratch")
    (tmp_path / "scratch/d1/f1.py").write_text("x\n")
    assert set(tree_changes(mirrors.git(address), commit, tmp_path / "scratch").changes) == {"d1/f1.py"}
    assert time.process_time() - began < 1
