"""Scratch copies for coding agents, and the changes that an agent made in one.

An agent owns its scratch, `.git` included: after it ran, no git command reads the scratch's `.git`. The changes
come from our repository, an index of our own, and the scratch as nothing but a folder of files.
"""

import os
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from resources.git.git_command import PLAIN_ATTRIBUTES, Git
from resources.git.git_errors import GitRefused
from resources.git.git_trees import (
    TreeLimits,
    compare_trees,
    list_tree,
    own_index,
    read_blob,
    refuse_pointer,
    regular_mode,
    replace_entries,
    tree_of,
)
from sisu_pipeline.contracts.sandbox_request import Mode
from sisu_pipeline.domain.changes.file_diff import FileState

AGENT_FILES = frozenset(
    (".opencode", "opencode.json", "opencode.jsonc", ".claude", ".mcp.json", ".codex", ".gemini", ".cursor")
)
"""Names of files and folders that a coding agent executes or obeys when a session starts. Never given to one."""

_AUTHOR = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "sisu"), ("EMAIL", "sisu@localhost"), ("DATE", "2000-01-01T00:00:00Z"))
}


@dataclass(frozen=True)
class ScratchLimits:
    """Limits of what an agent may leave in its scratch."""

    files: int = 200_000
    total_bytes: int = 2 * 1024 * 1024 * 1024
    changed_bytes: int = 32 * 1024 * 1024


@dataclass(frozen=True)
class ScratchChanges:
    """What differs between a commit and a scratch.

    `ignored` are files that `.gitignore` excludes, and `agent_files` the agents' own ones: neither are changes.
    """

    changes: dict[str, FileState | None]
    ignored: tuple[str, ...] = ()
    agent_files: tuple[str, ...] = ()


def checkout_scratch(git: Git, commit: str, target: Path, subdirectory: str | None = None) -> None:
    """Check a commit's tree, or the tree of a folder in it, out to a new folder with a `.git` of its own.

    The scratch has one commit without history, and none of the agents' own configuration (AGENT_FILES). It has no
    link to the mirror. Raises GitRefused, GitUnavailable.
    """
    commit = _scratch_commit(git, commit, subdirectory)
    own = Git(target / ".git", work_tree=None, protocols=("file",), bounds=git.bounds)
    own.run(
        "create a scratch",
        "init",
        "--quiet",
        "--template=",
        str(target),
        environment={"GIT_DIR": str(own.repository)},
    )
    (own.repository / "info").mkdir(exist_ok=True)
    (own.repository / "info" / "attributes").write_text(PLAIN_ATTRIBUTES)
    own.run(
        "fetch into a scratch",
        *(
            "fetch",
            "--quiet",
            "--depth=1",
            "--no-tags",
            "--no-write-fetch-head",
            "--",
            str(git.repository.resolve()),
        ),
        f"+{commit}:refs/heads/work",
    )
    replace(own, work_tree=target).run("check a scratch out", "checkout", "--quiet", "work")


def tree_changes(
    git: Git, commit: str, scratch: Path, subdirectory: str | None = None, limits: ScratchLimits | None = None
) -> ScratchChanges:
    """What an agent changed in a scratch of this commit.

    Raises GitRefused for links, embedded repositories, Git LFS pointers, names that are not UTF-8, or content
    beyond the limits.
    """
    limits = limits or ScratchLimits()
    agent_files = _check_scratch(scratch, limits)
    base = tree_of(git, _scratch_commit(git, commit, subdirectory))
    with tempfile.TemporaryDirectory() as objects, own_index(git) as indexed:
        # What an agent wrote does not go into the mirror.
        view = replace(indexed, work_tree=scratch, objects=Path(objects))
        view.run("read the tree", "read-tree", base)
        view.run("read the scratch", "add", "--all", "--", ".", *_without_agent_files())
        tree = view.text("write the tree", "write-tree")
        ignored = view.run(
            *("list ignored files", "ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z"),
            *("--", ".", *_without_agent_files()),
        )
        return ScratchChanges(_read_changes(view, base, tree, limits), _names(ignored), agent_files)


def _scratch_commit(git: Git, commit: str, subdirectory: str | None) -> str:
    """A commit without history whose tree lacks the agents' files: a function of the commit and the folder."""
    tree = tree_of(git, commit, subdirectory)
    unwanted = [
        entry.path
        for entry in list_tree(git, tree, TreeLimits())
        if not AGENT_FILES.isdisjoint(entry.path.split("/"))
    ]
    if unwanted:
        tree = replace_entries(git, tree, dict.fromkeys(unwanted))
    made = git.text("make a scratch commit", "commit-tree", "-m", "base", tree, environment=_AUTHOR)
    # A fetch from the mirror needs a reference.
    git.run("keep the scratch commit", "update-ref", f"refs/sisu/scratch/{made}", made)
    return made


def _read_changes(view: Git, base: str, tree: str, limits: ScratchLimits) -> dict[str, FileState | None]:
    changes: dict[str, FileState | None] = {}
    size = 0
    for change in compare_trees(view, base, tree):
        path = _utf8(os.fsencode(change.path))
        if change.old_mode is not None:
            regular_mode(path, change.old_mode)
        if change.mode is None or change.new is None:
            changes[path] = None
            continue
        mode: Mode = regular_mode(path, change.mode)
        content = read_blob(view, change.new)
        refuse_pointer(path, content)
        size += len(content)
        if size > limits.changed_bytes:
            raise GitRefused(f"the changed files have more than {limits.changed_bytes} bytes")
        changes[path] = FileState(content, mode)
    return changes


def _check_scratch(scratch: Path, limits: ScratchLimits) -> tuple[str, ...]:
    """Check the size of a scratch before anything reads its files; returns the agents' own files in it."""
    total = 0
    agent_files = []
    for files, (path, status) in enumerate(_walk(str(scratch)), start=1):
        total += status.st_size if stat.S_ISREG(status.st_mode) else 0
        if files > limits.files or total > limits.total_bytes:
            raise GitRefused(f"the scratch has more than {limits.files} files or {limits.total_bytes} bytes")
        if path.rpartition("/")[2] in AGENT_FILES:
            agent_files.append(os.path.relpath(path, scratch))
    return tuple(sorted(agent_files))


def _walk(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    for parent, folders, names in os.walk(folder):
        if parent == folder and ".git" in folders:
            folders.remove(".git")
        for name in (*folders, *names):
            path = f"{parent}/{name}"
            yield path, os.lstat(path)


def _without_agent_files() -> list[str]:
    return [
        f":(exclude,top,glob){pattern}"
        for name in sorted(AGENT_FILES)
        for pattern in (f"**/{name}", f"**/{name}/**")
    ]


def _names(listing: bytes) -> tuple[str, ...]:
    return tuple(name.decode(errors="replace") for name in listing.split(b"\0") if name)


def _utf8(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise GitRefused(f"the file name {name!r} is not UTF-8") from None
