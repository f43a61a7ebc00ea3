"""Trees of a mirror: read, changed and written to folders, always through an index of their own."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from resources.git.git_command import Git
from resources.git.git_errors import GitRefused
from sisu_pipeline.contracts.sandbox_request import Mode
from sisu_pipeline.domain.changes.file_diff import FileState

Changes = Mapping[str, FileState | None]
"""Files by path as a change leaves them; None deletes the file."""

Entries = Mapping[str, tuple[str, str] | None]
"""Mode and object id by path as a change leaves them; None removes the entry."""

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_LINE = re.compile(r"(\d{6}) (\w+) ([0-9a-f]{40}) +(-|\d+)")
_FILE_MODES: tuple[Mode, ...] = ("100644", "100755")
_FOLDER_MODE = "040000"
_NO_MODE = "000000"
_NO_OBJECT = "0" * 40


@dataclass(frozen=True)
class TreeLimits:
    """Limits of a tree that is written to a folder."""

    files: int = 100_000
    total_bytes: int = 1024 * 1024 * 1024


@dataclass(frozen=True)
class TreeEntry:
    """One entry of a tree: a file (100644, 100755), a symbolic link (120000) or a submodule (160000)."""

    path: str
    mode: str
    object_id: str
    size: int


@dataclass(frozen=True)
class TreeChange:
    """An entry that differs between two trees; a mode and an object id are None where there is no entry."""

    path: str
    old_mode: str | None
    mode: str | None
    old: str | None
    new: str | None


def tree_of(git: Git, commit: str, subdirectory: str | None = None) -> str:
    """The id of a commit's tree, or of the tree of a folder in it. Raises GitRefused when there is none."""
    place = f"{commit}^{{tree}}" if subdirectory is None else f"{commit}:{subdirectory}"
    try:
        found = git.text("find the tree", "rev-parse", "--verify", "--quiet", "--end-of-options", place)
        kind = git.text("find the tree", "cat-file", "-t", found)
    except GitRefused:
        kind = "missing"
    if kind != "tree":
        raise GitRefused(f"the commit has no folder {subdirectory}" if subdirectory else f"{commit} has no tree")
    return found


def list_tree(git: Git, tree: str, limits: TreeLimits | None = None) -> list[TreeEntry]:
    """Every entry of a tree that is not a tree, in git's order. Raises GitRefused beyond the limits."""
    limits = limits or TreeLimits()
    listing = git.run("list the tree", "ls-tree", "-r", "-l", "-z", "--full-tree", tree)
    entries = [_entry(line) for line in listing.split(b"\0") if line]
    if len(entries) > limits.files:
        raise GitRefused(f"the tree has {len(entries)} files, more than {limits.files}")
    if (total := sum(entry.size for entry in entries)) > limits.total_bytes:
        raise GitRefused(f"the files of the tree have {total} bytes, more than {limits.total_bytes}")
    return entries


def read_files(git: Git, tree: str, paths: Iterable[str]) -> dict[str, FileState | None]:
    """The files of a tree at some paths; None where there is nothing.

    Raises GitRefused for a path that is a folder, a symbolic link, a submodule or a Git LFS pointer, or that is
    below something else than a folder.
    """
    found: dict[str, FileState | None] = dict.fromkeys(paths)
    if not found:
        return found
    above = {folder for path in found for folder in _folders(path)}
    # A path that git would read as an option or a pattern is neither.
    listing = git.run(
        *("list the tree", "--literal-pathspecs", "ls-tree", "-l", "-z", "--full-tree", tree, "--"),
        *sorted(above | found.keys()),
    )
    for entry in (_entry(line) for line in listing.split(b"\0") if line):
        if entry.path in above and entry.mode != _FOLDER_MODE:
            raise GitRefused(f"{entry.path} is not a folder of the repository: nothing can be below it")
        if entry.path in found:
            mode = regular_mode(entry.path, entry.mode)
            content = read_blob(git, entry.object_id)
            refuse_pointer(entry.path, content)
            found[entry.path] = FileState(content, mode)
    return found


def compare_trees(git: Git, old: str, new: str) -> list[TreeChange]:
    """The entries that differ between two trees or commits, in git's order. A renamed file is two entries."""
    raw = git.run("compare trees", "diff-tree", "-r", "-z", "--raw", "--no-renames", "--full-index", old, new)
    fields = raw.split(b"\0")[:-1]
    return [_tree_change(head, name) for head, name in zip(fields[::2], fields[1::2], strict=True)]


def read_blob(git: Git, object_id: str) -> bytes:
    """The content of a blob."""
    return git.run("read a file of the repository", "cat-file", "blob", object_id)


def apply_changes_to_tree(git: Git, tree: str, changes: Changes, subdirectory: str | None = None) -> str:
    """The id of the tree that has the changed files, written to the mirror. Paths are below `subdirectory`.

    Raises GitRefused for a path that git does not accept, or that is a folder or below a file.
    """
    prefix = "" if subdirectory is None else f"{subdirectory}/"
    wanted = {f"{prefix}{path}": _staged(git, state) for path, state in changes.items()}
    return replace_entries(git, tree, wanted)


def replace_entries(git: Git, tree: str, wanted: Entries) -> str:
    """The id of the tree whose entries at these paths have this mode and object, or are absent."""
    with own_index(git) as indexed:
        indexed.run("read the tree", "read-tree", tree)
        before = _staged_entries(indexed)
        # Deletions first: a deleted file may become a folder.
        ordered = sorted(wanted.items(), key=lambda entry: (entry[1] is not None, entry[0]))
        lines = [_index_line(path, entry) for path, entry in ordered]
        indexed.run("change the tree", "update-index", "-z", "--index-info", stdin=b"".join(lines))
        _check_index(before, indexed, wanted)
        return indexed.text("write the tree", "write-tree")


def write_folder(git: Git, tree: str, folder: Path, limits: TreeLimits | None = None) -> None:
    """Write the files of a tree to a folder that does not exist yet, at once: it is complete when it exists.

    Symbolic links are written as links, and submodules as empty folders.
    """
    list_tree(git, tree, limits)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        partial.chmod(0o755)
        with own_index(git) as indexed:
            indexed.run("read the tree", "read-tree", tree)
            replace(indexed, work_tree=partial).run("write the tree's files", "checkout-index", "--all", "--quiet")
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        if not folder.is_dir():
            raise
        # Another process was faster: the same tree has the same files.


@contextmanager
def own_index(git: Git) -> Iterator[Git]:
    """Git with an empty index of its own."""
    with tempfile.TemporaryDirectory() as folder:
        yield replace(git, index=Path(folder, "index"))


def regular_mode(path: str, mode: str) -> Mode:
    """The mode of a regular file. Raises GitRefused for anything else."""
    for known in _FILE_MODES:
        if mode == known:
            return known
    kind = {
        "120000": "a symbolic link",
        "160000": "a submodule or an embedded repository",
        _FOLDER_MODE: "a folder",
    }
    raise GitRefused(f"{path} is {kind.get(mode, f'of mode {mode}')}: only regular files can be changed")


def refuse_pointer(path: str, content: bytes) -> None:
    """Raise GitRefused for the pointer that Git LFS stores in place of a large file."""
    if content.startswith(LFS_POINTER):
        raise GitRefused(
            f"{path} is stored in Git LFS, which is not supported: its content is not in the repository"
        )


def _entry(line: bytes) -> TreeEntry:
    head, _, name = line.partition(b"\t")
    match = _LINE.fullmatch(head.decode())
    assert match is not None, "git lists an entry as mode, kind, id and size"
    mode, _, object_id, size = match.groups()
    return TreeEntry(os.fsdecode(name), mode, object_id, 0 if size == "-" else int(size))


def _tree_change(head: bytes, name: bytes) -> TreeChange:
    old_mode, mode, old, new, _ = head.decode().removeprefix(":").split(" ")
    had, has = old_mode != _NO_MODE, mode != _NO_MODE
    return TreeChange(
        os.fsdecode(name),
        old_mode if had else None,
        mode if has else None,
        old if had else None,
        new if has else None,
    )


def _staged(git: Git, state: FileState | None) -> tuple[str, str] | None:
    if state is None:
        return None
    blob = git.text("store a file", "hash-object", "-w", "--no-filters", "--stdin", stdin=state.content)
    return state.mode, blob


def _index_line(path: str, entry: tuple[str, str] | None) -> bytes:
    mode, blob = entry or ("0", _NO_OBJECT)
    return f"{mode} {blob}\t".encode() + os.fsencode(path) + b"\0"


def _check_index(before: dict[str, tuple[str, str]], indexed: Git, wanted: Entries) -> None:
    """Raise GitRefused unless the index has the wanted entries, and every other one it had before.

    Git silently leaves out a path that it does not accept, and replaces a file by a folder of its name.
    """
    found = _staged_entries(indexed)
    for path, entry in wanted.items():
        if found.get(path) != entry:
            raise GitRefused(f"cannot change the tree: git does not accept the path {path!r}")
    lost = before.keys() - found.keys() - wanted.keys()
    if lost:
        raise GitRefused(f"cannot change the tree: {min(lost)} would be replaced by a file or a folder of its name")


def _staged_entries(indexed: Git) -> dict[str, tuple[str, str]]:
    listing = indexed.run("list the files", "ls-files", "--stage", "-z")
    found = {}
    for line in listing.split(b"\0")[:-1]:
        head, _, name = line.partition(b"\t")
        mode, blob, _ = head.decode().split(" ")
        found[os.fsdecode(name)] = (mode, blob)
    return found


def _folders(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
