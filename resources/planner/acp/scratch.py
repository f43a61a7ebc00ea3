"""The working directory of an agent: how it is filled, and which changes it holds afterwards."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from resources.git.git_command import Git
from resources.git.git_errors import GitRefused, GitUnavailable
from resources.git.git_trees import read_files, tree_of
from resources.git.scratch_folders import AGENT_FILES, checkout_scratch, tree_changes
from resources.planner.acp.agent_errors import AgentFailure, FailureCode
from resources.sandbox.local.isolation.file_tree import TreeTooLarge, open_beneath, open_folder, walk
from sisu_pipeline.contracts.sandbox_request import Mode
from sisu_pipeline.contracts.step_outputs import MAX_PATCHES
from sisu_pipeline.domain.canonical import sha256_json
from sisu_pipeline.domain.changes.file_diff import FileState
from sisu_pipeline.domain.changes.plan_changes import Files
from sisu_pipeline.domain.changes.tree_patches import patches_between
from sisu_pipeline.domain.changes.workspace_files import PathNotAllowed, relative_parts

LARGEST_FILE = 8 * 1024 * 1024
_IGNORED = AGENT_FILES | {".git", "__pycache__", "node_modules"}


@dataclass(frozen=True)
class Changes:
    """Changes of the working directory as the patches of a plan; `before` are the files that they start from."""

    patches: list[dict[str, Any]]
    before: Files = field(default_factory=dict, compare=False)

    @property
    def sha256(self) -> str:
        """The hash of the changes' canonical JSON."""
        return sha256_json(self.patches)

    @classmethod
    def between(cls, before: Files, after: Files) -> "Changes":
        """The changes from one set of files to another. Raises AgentFailure when a plan cannot hold them."""
        try:
            patches = patches_between(before, after)
        except ValidationError:
            raise _refused("a changed file is too large or has a name that no plan can hold") from None
        if len(patches) > MAX_PATCHES:
            raise _refused(f"it changes {len(patches)} files, and a plan can change at most {MAX_PATCHES}")
        documents = [patch.to_json() for patch in patches]
        for document in documents:
            del document["diffText"]  # computed when the plan is compiled
        sources = {patch.source_path for patch in patches}
        return cls(documents, {path: state for path, state in before.items() if path in sources})


class Scratch(Protocol):
    """A working directory for one question."""

    def content_key(self) -> str:
        """A text that is equal for equal files, wherever they come from. Raises AgentFailure."""
        ...

    def fill(self, folder: Path) -> None:
        """Write the base into an empty folder. Raises AgentFailure."""
        ...

    def changes(self, folder: Path) -> Changes:
        """The difference to the base, once no process of the agent is left. Raises AgentFailure."""
        ...


@dataclass(frozen=True)
class FilesScratch:
    """The files that an intent carries, by path. Files that an agent would execute are left out."""

    files: Mapping[str, FileState]

    def content_key(self) -> str:
        """The hash of the files with their paths and modes."""
        return sha256_json({path: [state.mode, state.content.hex()] for path, state in self._given.items()})

    def fill(self, folder: Path) -> None:
        """Write the files."""
        for path, state in self._given.items():
            try:
                target = folder.joinpath(*relative_parts(path))
            except PathNotAllowed as error:
                raise AgentFailure(FailureCode.CHANGES, str(error)) from None
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(state.content)
            target.chmod(0o755 if state.mode == "100755" else 0o644)

    def changes(self, folder: Path) -> Changes:
        """The difference of the whole folder to the files, without byte code and installed packages."""
        return Changes.between(self._given, _read(folder))

    @property
    def _given(self) -> dict[str, FileState]:
        return {path: state for path, state in self.files.items() if not _is_ignored(path)}


@dataclass(frozen=True)
class GitScratch:
    """A commit of a repository of ours, or a folder in it."""

    git: Git
    commit: str
    subdirectory: str | None = None

    def content_key(self) -> str:
        """Git's id of the tree."""
        try:
            return tree_of(self.git, self.commit, self.subdirectory)
        except (GitRefused, GitUnavailable) as error:
            raise _git_failure(error) from error

    def fill(self, folder: Path) -> None:
        """Check the commit out, with a `.git` of its own and without files that an agent would execute."""
        try:
            checkout_scratch(self.git, self.commit, folder, self.subdirectory)
        except (GitRefused, GitUnavailable) as error:
            raise _git_failure(error) from error

    def changes(self, folder: Path) -> Changes:
        """The difference of the tree to the commit's, computed without the folder's `.git`."""
        try:
            changed = tree_changes(self.git, self.commit, folder, self.subdirectory).changes
            before = read_files(self.git, tree_of(self.git, self.commit, self.subdirectory), changed)
        except (GitRefused, GitUnavailable) as error:
            raise _git_failure(error) from error
        return Changes.between(
            {path: state for path, state in before.items() if state is not None},
            {path: state for path, state in changed.items() if state is not None},
        )


def _is_ignored(path: str) -> bool:
    return not _IGNORED.isdisjoint(path.split("/"))


def _read(folder: Path) -> dict[str, FileState]:
    root = open_folder(folder)
    try:
        files = {}
        for entry in walk(root):
            if _is_ignored(entry.path):
                continue
            if not stat.S_ISREG(entry.stat.st_mode):
                raise _refused(f"{entry.path} is not a regular file")
            files[entry.path] = _state(root, entry.path)
        return files
    except TreeTooLarge:
        raise _refused("it has too many files or too deep folders") from None
    finally:
        os.close(root)


def _state(root: int, path: str) -> FileState:
    """A file. O_NONBLOCK: it could have been replaced by a fifo since it was listed."""
    descriptor = open_beneath(root, tuple(path.split("/")), os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(LARGEST_FILE + 1)
        mode: Mode = "100755" if os.fstat(descriptor).st_mode & stat.S_IXUSR else "100644"
    try:
        path.encode()
        relative_parts(path)
    except (UnicodeEncodeError, PathNotAllowed):
        raise _refused(f"the name {path!r} is not a plain path") from None
    if len(content) > LARGEST_FILE:
        raise _refused(f"{path} is larger than {LARGEST_FILE} bytes")
    return FileState(content, mode)


def _git_failure(error: GitRefused | GitUnavailable) -> AgentFailure:
    if isinstance(error, GitUnavailable):
        return AgentFailure(FailureCode.BOX, str(error))
    return _refused(str(error))


def _refused(reason: str) -> AgentFailure:
    return AgentFailure(
        FailureCode.CHANGES, f"the agent's change cannot be a plan: {reason}. State this limit in the goal"
    )
