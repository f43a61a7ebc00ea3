"""Patches of a run's workspace: applied and rolled back, and recorded in Postgres before a file changes.

A patch is recorded (pre-image, post-image, hashes, modes), then carried out, then marked as applied. Each of these
can be interrupted and repeated with the same result. A rename first removes the file at its old path, as the record
has its content. A rollback restores every byte and mode.
"""

from contextlib import suppress
from pathlib import Path

from resources.database import Database
from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.contracts.sandbox_request import Mode
from sisu_pipeline.contracts.step_outputs import PatchOp, PlanPatch, StepId
from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.domain.canonical import sha256_hex
from sisu_pipeline.domain.changes.workspace_files import check_folders, intent_files
from sisu_pipeline.steps.apply_patch import AppliedPatch
from sisu_pipeline.store.outputs import patches as history
from sisu_pipeline.store.outputs.patches import RecordedPatch
from sisu_pipeline.workflow.workspace import FileContent, PathTaken, Workspace

_DEFAULT_MODE = 0o644
_Side = tuple[str, FileContent | None]
_MODES = {"100644": 0o644, "100755": 0o755}


class PatchMismatch(Exception):
    """A file has neither the content before the patch nor the content after it: something else changed it."""


def workspace_of(root: Path, run_id: str) -> Workspace:
    """The workspace folder of a run."""
    return Workspace(root / run_id)


def prepare(database: Database, workspace: Workspace, run_id: str, intent: Intent) -> None:
    """Create the folder with the intent's files, unless a patch has changed them already.

    Content that is there before any patch is recorded belongs to the run of an earlier database, and is removed.
    Raises PathNotAllowed.
    """
    with database.connect() as connection:
        is_patched = history.exists(connection, run_id)
    if not is_patched:
        workspace.clear()
    seed_workspace(workspace, intent)


def seed_workspace(workspace: Workspace, intent: Intent) -> None:
    """Write the intent's files into the folder, except those that exist already.

    A patch may have put a file where the intent's files have a folder, or the other way round: then the intent's
    file was deleted, and stays so. Raises PathNotAllowed.
    """
    files = intent_files(intent)
    check_folders(files)
    workspace.create()
    for path, state in sorted(files.items()):
        with suppress(PathTaken):
            if workspace.read(path) is None:
                workspace.write(path, state.content, _MODES[state.mode])


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
    with database.connect() as connection:
        recorded = history.find(connection, run_id, step, index)
    if recorded is None:
        recorded = _recorded(workspace, run_id, step, index, patch)
    with database.connect() as connection:
        recorded = history.record(connection, recorded)
    crash_point("patch.remember.after")
    _carry_out(workspace, recorded)
    crash_point("patch.write.after")
    with database.connect() as connection:
        history.mark_applied(connection, recorded)
    crash_point("patch.mark.after")
    return _applied(recorded)


def _recorded(workspace: Workspace, run_id: str, step: StepId, index: int, patch: PlanPatch) -> RecordedPatch:
    """The patch with its file as it is now. Raises PatchMismatch for another file than the plan was made for."""
    before = _read(workspace, patch.source_path)
    if patch.op is not None and _hash(before) != patch.old_sha256:
        raise PatchMismatch(f"PREIMAGE_MISMATCH:{patch.source_path}")
    after = _after(before, patch)
    return RecordedPatch(
        run_id=run_id,
        step_id=step,
        patch_index=index,
        op=patch.op,
        target_path=patch.target_path,
        from_path=patch.from_path,
        preimage_hash=_hash(before),
        preimage_content=None if before is None else before.content,
        preimage_mode=None if before is None else before.mode,
        postimage_hash=_hash(after),
        postimage_content=None if after is None else after.content,
        postimage_mode=None if after is None else after.mode,
        diff_hash=sha256_hex(patch.diff_text),
    )


def _after(before: FileContent | None, patch: PlanPatch) -> FileContent | None:
    if patch.op is PatchOp.DELETE:
        return None
    content = patch.content
    if content is None:
        assert before is not None, "a patch without content has a file whose content it keeps"
        content = before.content
    if patch.mode is not None:
        return FileContent(content, _MODES[patch.mode])
    return FileContent(content, _DEFAULT_MODE if before is None else before.mode)


def _carry_out(workspace: Workspace, patch: RecordedPatch) -> None:
    """Replace the pre-image by the post-image, unless that is done. Raises PatchMismatch."""
    path = patch.target_path
    must_exist = patch.from_path is None and None not in (patch.preimage_hash, patch.postimage_hash)
    if must_exist and _read(workspace, path) is None:
        raise PatchMismatch(f"PREIMAGE_MISMATCH:{path}")
    _replace(workspace, (patch.source_path, _preimage(patch)), (path, _postimage(patch)), "PREIMAGE_MISMATCH")


def _restore(workspace: Workspace, patch: RecordedPatch) -> None:
    """Replace the post-image by the pre-image, unless that is done. Raises PatchMismatch.

    A missing file (another machine, a deleted folder) is restored to the pre-image too.
    """
    before, after = (patch.source_path, _preimage(patch)), (patch.target_path, _postimage(patch))
    _replace(workspace, after, before, "POSTIMAGE_MISMATCH")


def _replace(workspace: Workspace, old: _Side, new: _Side, mismatch: str) -> None:
    """Replace one state of a file by another, each with its path. Every part can be done already.

    Raises PatchMismatch when a path has a file that is neither of the two.
    """
    (old_path, before), (new_path, after) = old, new
    is_moved = old_path != new_path
    _check(workspace, new_path, (after, None if is_moved else before), mismatch)
    if is_moved:
        _check(workspace, old_path, (before,), mismatch)
        workspace.remove(old_path)
        crash_point("patch.remove.after")
    if after is None:
        workspace.remove(new_path)
    elif _read(workspace, new_path) != after:
        workspace.write(new_path, after.content, after.mode)


def _check(workspace: Workspace, path: str, known: tuple[FileContent | None, ...], mismatch: str) -> None:
    """Check that the file has known content or is missing. Its mode is set either way."""
    if _hash(_read(workspace, path)) not in {None, *map(_hash, known)}:
        raise PatchMismatch(f"{mismatch}:{path}")


def _preimage(patch: RecordedPatch) -> FileContent | None:
    if patch.preimage_content is None:
        return None
    return FileContent(patch.preimage_content, patch.preimage_mode or _DEFAULT_MODE)


def _postimage(patch: RecordedPatch) -> FileContent | None:
    if patch.postimage_content is None:
        return None
    return FileContent(patch.postimage_content, patch.postimage_mode or patch.preimage_mode or _DEFAULT_MODE)


def _read(workspace: Workspace, path: str) -> FileContent | None:
    """The file; None also when a folder is at its path, or a file where its folder would be."""
    try:
        return workspace.read(path)
    except PathTaken:
        return None


def _hash(file: FileContent | None) -> str | None:
    return None if file is None else sha256_hex(file.content)


def _applied(patch: RecordedPatch) -> AppliedPatch:
    return AppliedPatch(
        index=patch.patch_index,
        target_path=patch.target_path,
        preimage_hash=patch.preimage_hash,
        postimage_hash=patch.postimage_hash,
        diff_hash=patch.diff_hash,
        op=patch.op,
        from_path=patch.from_path,
        old_mode=_git_mode(_preimage(patch)),
        mode=_git_mode(_postimage(patch)),
    )


def _git_mode(file: FileContent | None) -> Mode | None:
    if file is None:
        return None
    return "100755" if file.mode & 0o100 else "100644"
