"""Patches of a run's workspace: applied and rolled back, and recorded in Postgres before a file changes.

A patch is recorded (pre-image, post-image, hashes), then written, then marked as applied. Each of these can be
interrupted and repeated with the same result. A rollback restores every byte.
"""

from pathlib import Path

from resources.database import Database
from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.contracts.step_outputs import PlanPatch, StepId
from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.domain.canonical import sha256_hex
from sisu_pipeline.domain.workspace_files import intent_files
from sisu_pipeline.steps.apply_patch import AppliedPatch
from sisu_pipeline.store.outputs import patches as history
from sisu_pipeline.store.outputs.patches import RecordedPatch
from sisu_pipeline.workflow.workspace import FileContent, Workspace

_DEFAULT_MODE = 0o644


class PatchMismatch(Exception):
    """A file has neither the content before the patch nor the content after it: something else changed it."""


def workspace_of(root: Path, run_id: str) -> Workspace:
    """The workspace folder of a run."""
    return Workspace(root / run_id)


def seed_workspace(workspace: Workspace, intent: Intent) -> None:
    """Write the intent's files into the folder, except those that exist already."""
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
    """Apply the patches in order. Idempotent.

    Raises PathNotAllowed or PatchMismatch; the patches before the refused one stay applied until they are rolled
    back.
    """
    return tuple(_apply_one(database, workspace, run_id, step, index, patch) for index, patch in enumerate(patches))


def exchange(database: Database, workspace: Workspace, run_id: str, patches: list[PlanPatch]) -> None:
    """Replace ApplyPatchST's patches by those of the edited plan. Idempotent.

    Raises PathNotAllowed or PatchMismatch; the patches before the refused one stay applied until they are rolled
    back.
    """
    roll_back(database, workspace, run_id, StepId.APPLY_PATCH)
    apply(database, workspace, run_id, patches, StepId.DECIDE)


def roll_back(database: Database, workspace: Workspace, run_id: str, step: StepId | None = None) -> int:
    """Roll back the patches of a run, or of one step of it, the last one first; returns how many. Idempotent.

    Raises PatchMismatch when something else has changed a file since.
    """
    with database.connect() as connection:
        recorded = history.to_roll_back(connection, run_id, step)
    if recorded:
        workspace.create()
    for patch in recorded:
        _restore(workspace, patch)
        crash_point("patch.restore.after")
        with database.connect() as connection:
            history.mark_rolled_back(connection, patch)
        crash_point("patch.rolled_back.after")
    return len(recorded)


def _apply_one(
    database: Database, workspace: Workspace, run_id: str, step: StepId, index: int, patch: PlanPatch
) -> AppliedPatch:
    before = workspace.read(patch.target_path)
    after = patch.postimage_content.encode()
    proposed = RecordedPatch(
        run_id=run_id,
        step_id=step,
        patch_index=index,
        target_path=patch.target_path,
        preimage_hash=_hash(before),
        preimage_content=None if before is None else before.content,
        preimage_mode=None if before is None else before.mode,
        postimage_hash=sha256_hex(after),
        postimage_content=after,
        diff_hash=sha256_hex(patch.diff_text),
    )
    with database.connect() as connection:
        recorded = history.record(connection, proposed)
    crash_point("patch.remember.after")
    path = recorded.target_path
    current = _hash(workspace.read(path))
    if current != recorded.postimage_hash:
        if current != recorded.preimage_hash:
            raise PatchMismatch(f"PREIMAGE_MISMATCH:{path}")
        workspace.write(path, recorded.postimage_content, recorded.preimage_mode or _DEFAULT_MODE)
    crash_point("patch.write.after")
    with database.connect() as connection:
        history.mark_applied(connection, recorded)
    crash_point("patch.mark.after")
    return AppliedPatch(index, path, recorded.preimage_hash, recorded.postimage_hash, recorded.diff_hash)


def _restore(workspace: Workspace, patch: RecordedPatch) -> None:
    path = patch.target_path
    current = _hash(workspace.read(path))
    if current == patch.preimage_hash:
        return
    # A missing workspace (another machine, a deleted folder) is restored to the pre-image.
    if current not in (patch.postimage_hash, None):
        raise PatchMismatch(f"POSTIMAGE_MISMATCH:{path}")
    if patch.preimage_content is None:
        workspace.remove(path)
    else:
        workspace.write(path, patch.preimage_content, patch.preimage_mode or _DEFAULT_MODE)


def _hash(file: FileContent | None) -> str | None:
    return None if file is None else sha256_hex(file.content)
