"""The commit that a run starts from, and what an intent may ask for beside it."""

from dataclasses import dataclass

from sisu_pipeline.contracts.base import ContractInvalid
from sisu_pipeline.contracts.field_errors import pointer, shown
from sisu_pipeline.contracts.intent import Intent, RepositoryInput
from sisu_pipeline.contracts.planned_work import PlanBase
from sisu_pipeline.domain.canonical import sha256_json
from sisu_pipeline.domain.changes.workspace_files import is_in_git_folder


class InputInvalid(Exception):
    """A member of a request is invalid, or not allowed by this deployment. `pointer` is its place in the body."""

    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(f"{pointer}: {message}")
        self.pointer = pointer
        self.message = message


@dataclass(frozen=True)
class RepositoryBase:
    """The commit of a run: resolved once, before planning. `tree` is the tree of the commit's subdirectory."""

    address: str
    subdirectory: str | None
    commit: str
    tree: str

    @property
    def section(self) -> PlanBase:
        """The base in the complete plan."""
        content = {"address": self.address, "subdirectory": self.subdirectory, "tree": self.tree}
        return PlanBase(commit=self.commit, files_sha256=sha256_json(content))


def repository_of(intent: Intent) -> RepositoryInput | None:
    """The repository in `inputs.repo`; None without one. Raises InputInvalid."""
    if "repo" not in intent.inputs:
        return None
    if "files" in intent.inputs:
        raise InputInvalid("/inputs/files", "an intent has either repo or files; leave one out")
    try:
        return RepositoryInput.from_json(intent.inputs["repo"])
    except ContractInvalid as failure:
        fault = failure.faults[0]
        raise InputInvalid(f"/inputs/repo{fault.pointer}", fault.message) from None


def check_files(intent: Intent) -> None:
    """Raise InputInvalid for a path in `inputs.files` that means a git folder."""
    files = intent.inputs.get("files")
    for path in sorted(files) if isinstance(files, dict) else ():
        if is_in_git_folder(path):
            message = f"path {shown(path)} is in a .git folder; leave out git's own files"
            raise InputInvalid(pointer(("inputs", "files", path)), message)


def content_of(intent: Intent, base: RepositoryBase | None) -> Intent:
    """The intent with its repository named by content, so that equal files are equal wherever they come from."""
    if base is None:
        return intent
    inputs = {**intent.inputs, "repo": {"tree": base.tree}}
    return Intent.from_json({**intent.to_json(), "inputs": inputs})


def tree_key(tree: str, changes_sha256: str) -> str:
    """The name of the files of a tree with the changes of a complete plan, a function of both."""
    return sha256_json({"changes": changes_sha256, "tree": tree})
