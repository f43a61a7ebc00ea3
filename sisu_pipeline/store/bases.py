"""What a run starts from: the intent's files, or a commit and its files at the paths of the plan."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from resources.database import Connection
from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.contracts.sandbox_request import Mode
from sisu_pipeline.contracts.step_outputs import Plan
from sisu_pipeline.domain.changes.file_diff import FileState
from sisu_pipeline.domain.changes.plan_changes import ChangeInvalid
from sisu_pipeline.domain.changes.repository_base import RepositoryBase, repository_of
from sisu_pipeline.domain.changes.workspace_files import intent_files
from sisu_pipeline.store.records import execute, fetch_all, fetch_first, fetch_one


@dataclass(frozen=True)
class _File:
    path: str
    mode: Mode | None
    content: bytes | None


def find(connection: Connection, run_id: str) -> RepositoryBase | None:
    """The commit that a run starts from; None without a repository, and before it is resolved."""
    return fetch_first(connection, "bases.get", RepositoryBase, {"run_id": run_id})


def store(connection: Connection, run_id: str, ref: str, base: RepositoryBase) -> RepositoryBase:
    """Store the commit that a run starts from, unless one is stored; returns the stored one, which is final."""
    execute(connection, "bases.insert", {"run_id": run_id, "ref": ref, **vars(base)})
    return fetch_one(connection, "bases.get", RepositoryBase, {"run_id": run_id})


def store_files(connection: Connection, run_id: str, files: Mapping[str, FileState | None]) -> None:
    """Store files of the commit that a run starts from. A path without a file is stored as absent. Idempotent."""
    for path, state in files.items():
        values = {"mode": state and state.mode, "content": state and state.content}
        execute(connection, "bases.insert_file", {"run_id": run_id, "path": path, **values})


def files(connection: Connection, run_id: str, intent: Intent) -> dict[str, FileState]:
    """The files that a plan of the run starts from: the intent's, or the commit's at the paths of the plan."""
    if repository_of(intent) is None:
        return intent_files(intent)
    stored = fetch_all(connection, "bases.files", _File, {"run_id": run_id})
    return {
        file.path: FileState(file.content, file.mode)
        for file in stored
        if file.content is not None and file.mode is not None
    }


def known_paths(connection: Connection, run_id: str) -> set[str]:
    """The paths of the commit whose files, or whose absence, are stored."""
    return {file.path for file in fetch_all(connection, "bases.files", _File, {"run_id": run_id})}


def check_edit(
    connection: Connection, run_id: str, intent: Intent, plan: Plan, more_paths: Collection[str]
) -> None:
    """Raise ChangeInvalid when a person's version of a plan changes a file of the commit that is not known."""
    if repository_of(intent) is None:
        return
    known = known_paths(connection, run_id).union(more_paths)
    for index, patch in enumerate(plan.patch_plan or []):
        for path in named_paths([(patch.target_path, patch.from_path)]):
            if path not in known:
                raise ChangeInvalid(
                    index,
                    f"cannot change {path}: the file of the commit was not read; send the edit again, or submit a "
                    "changed intent",
                )


def named_paths(patches: Iterable[tuple[str, str | None]]) -> list[str]:
    """The paths that patches name: targets and sources, each once."""
    return sorted({path for pair in patches for path in pair if path is not None})
