"""Patches, applied and taken back: remembered in Postgres before a file changes (reference §C2).

A patch is remembered (pre-image, post-image, hashes), then written, then marked applied. Whatever is
interrupted in between, doing it again ends in the same place; taking back restores every byte.
"""

from pathlib import Path

from resources.database import Database, Row
from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.contracts.step_outputs import Plan, PlanPatch, StepId
from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.domain.canonical import sha256_hex
from sisu_pipeline.domain.workspace_paths import PathNotAllowed
from sisu_pipeline.steps.apply_patch import AppliedPatch
from sisu_pipeline.workflow.workspace import FileContent, Workspace
from sql import query


class PatchMismatch(Exception):
    """A file is neither as it was before the patch nor as it is after: someone else changed it."""


class WorkspaceFilesInvalid(Exception):
    """`inputs.files` is not an object of path to text."""


def workspace_of(root: Path, run_id: str) -> Workspace:
    """The workspace folder of a run."""
    return Workspace(root / run_id)


def intent_files(intent: Intent) -> dict[str, str]:
    """The files an intent ships in `inputs.files`: path to text. Raises WorkspaceFilesInvalid."""
    files = intent.inputs.get("files", {})
    if not isinstance(files, dict) or not all(isinstance(text, str) for text in files.values()):
        raise WorkspaceFilesInvalid("inputs.files must be an object of path to text")
    return files


def workspace_files(intent: Intent, plan: Plan) -> dict[str, str]:
    """What the workspace holds once the plan is applied: known from the rows, on any machine."""
    patched = {patch.target_path: patch.postimage_content for patch in plan.patch_plan or []}
    return intent_files(intent) | patched


def seed_workspace(workspace: Workspace, intent: Intent) -> None:
    """Put the intent's files into the folder; a file that is there already is left alone."""
    workspace.create()
    for path, text in sorted(intent_files(intent).items()):
        if workspace.read(path) is None:
            workspace.write(path, text.encode())


def apply(
    database: Database,
    workspace: Workspace,
    run_id: str,
    patches: list[PlanPatch],
    step: StepId = StepId.APPLY_PATCH,
) -> tuple[AppliedPatch, ...]:
    """Apply the patches in order. Raises PathNotAllowed or PatchMismatch; earlier patches stay for rollback."""
    return tuple(_apply_one(database, workspace, run_id, step, index, patch) for index, patch in enumerate(patches))


def exchange(database: Database, workspace: Workspace, run_id: str, patches: list[PlanPatch]) -> None:
    """Take ApplyPatchST's patches back and apply those of the plan a person made of it. Safe to repeat.

    Raises PathNotAllowed or PatchMismatch; what was applied stays for rollback.
    """
    roll_back(database, workspace, run_id, StepId.APPLY_PATCH)
    apply(database, workspace, run_id, patches, StepId.DECIDE)


def roll_back(database: Database, workspace: Workspace, run_id: str, step: StepId | None = None) -> int:
    """Take back every patch of the run (or of one step), the last first; returns how many. Safe to repeat.

    Raises PatchMismatch when a file was changed by someone else since.
    """
    with database.connect() as connection:
        rows = connection.execute(query("patches.to_roll_back"), {"run_id": run_id, "step_id": step}).fetchall()
    if rows:
        workspace.create()
    for row in rows:
        _restore(workspace, row)
        crash_point("patch.restore.after")
        with database.connect() as connection:
            connection.execute(query("patches.mark_rolled_back"), _key(row))
        crash_point("patch.rolled_back.after")
    return len(rows)


def _apply_one(
    database: Database, workspace: Workspace, run_id: str, step: StepId, index: int, patch: PlanPatch
) -> AppliedPatch:
    key = {"run_id": run_id, "step_id": step, "patch_index": index}
    before = workspace.read(patch.target_path)
    after = patch.postimage_content.encode()
    with database.connect() as connection:
        connection.execute(
            query("patches.insert"),
            {
                **key,
                "target_path": patch.target_path,
                "preimage_hash": before and sha256_hex(before.content),
                "preimage_content": before and before.content,
                "preimage_mode": before and before.mode,
                "postimage_hash": sha256_hex(after),
                "postimage_content": after,
                "diff_hash": sha256_hex(patch.diff_text),
            },
        )
        row = connection.execute(query("patches.get"), key).fetchone()
    crash_point("patch.remember.after")
    assert row is not None
    current = _hash(workspace.read(row["target_path"]))
    if current != row["postimage_hash"]:
        if current != row["preimage_hash"]:
            raise PatchMismatch(f"PREIMAGE_MISMATCH:{row['target_path']}")
        workspace.write(row["target_path"], row["postimage_content"], row["preimage_mode"] or 0o644)
    crash_point("patch.write.after")
    with database.connect() as connection:
        connection.execute(query("patches.mark_applied"), key)
    crash_point("patch.mark.after")
    return AppliedPatch(index, row["target_path"], row["preimage_hash"], row["postimage_hash"], row["diff_hash"])


def _restore(workspace: Workspace, row: Row) -> None:
    path = row["target_path"]
    current = _hash(workspace.read(path))
    if current == row["preimage_hash"]:
        return
    # A workspace that is gone (another machine, a cleaned folder) is rebuilt to the pre-image.
    if current not in (row["postimage_hash"], None):
        raise PatchMismatch(f"POSTIMAGE_MISMATCH:{path}")
    if row["preimage_content"] is None:
        workspace.remove(path)
    else:
        workspace.write(path, row["preimage_content"], row["preimage_mode"])


def _hash(file: FileContent | None) -> str | None:
    return None if file is None else sha256_hex(file.content)


def _key(row: Row) -> dict[str, object]:
    return {name: row[name] for name in ("run_id", "step_id", "patch_index")}


__all__ = [
    "PatchMismatch",
    "PathNotAllowed",
    "WorkspaceFilesInvalid",
    "apply",
    "exchange",
    "intent_files",
    "roll_back",
    "seed_workspace",
    "workspace_files",
    "workspace_of",
]
