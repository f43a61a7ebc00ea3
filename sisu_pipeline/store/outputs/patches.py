"""The history of patches: what each file was before a patch and after it, recorded before the file changes."""

from dataclasses import dataclass

from resources.database import Connection
from sisu_pipeline.contracts.step_outputs import PatchOp, StepId
from sisu_pipeline.store.records import execute, fetch_all, fetch_first, fetch_one, fetch_value


@dataclass(frozen=True)
class RecordedPatch:
    """A patch of a run's workspace.

    The pre-image is the file at `from_path` of a rename, else at the target path; None when the patch creates the
    file. The post-image is None when the patch deletes it. `op` is None in a row of release 0.2.0, which has no
    post-image's mode either.
    """

    run_id: str
    step_id: StepId
    patch_index: int
    op: PatchOp | None
    target_path: str
    from_path: str | None
    preimage_hash: str | None
    preimage_content: bytes | None
    preimage_mode: int | None
    postimage_hash: str | None
    postimage_content: bytes | None
    postimage_mode: int | None
    diff_hash: str

    @property
    def source_path(self) -> str:
        """The path of the pre-image."""
        return self.from_path or self.target_path

    @property
    def key(self) -> dict[str, object]:
        """What identifies the patch."""
        return {"run_id": self.run_id, "step_id": self.step_id, "patch_index": self.patch_index}


def exists(connection: Connection, run_id: str) -> bool:
    """Whether a patch of the run is recorded."""
    found: bool = fetch_value(connection, "patches.exists", {"run_id": run_id})
    return found


def find(connection: Connection, run_id: str, step: StepId, index: int) -> RecordedPatch | None:
    """A patch as it is recorded; None when it is not."""
    key = {"run_id": run_id, "step_id": step, "patch_index": index}
    return fetch_first(connection, "patches.get", RecordedPatch, key)


def record(connection: Connection, patch: RecordedPatch) -> RecordedPatch:
    """Record a patch unless it is recorded already, and return it as it is recorded.

    A patch that was rolled back is to be rolled back again.
    """
    execute(connection, "patches.insert", vars(patch))
    return fetch_one(connection, "patches.get", RecordedPatch, patch.key)


def to_roll_back(connection: Connection, run_id: str, step: StepId | None) -> list[RecordedPatch]:
    """Patches of a run, or of one step of it, that are not rolled back, the last applied first.

    A patch that is recorded but not marked as applied may have changed its file, so it is included.
    """
    return fetch_all(connection, "patches.to_roll_back", RecordedPatch, {"run_id": run_id, "step_id": step})


def mark_applied(connection: Connection, patch: RecordedPatch) -> None:
    """Record that the file holds the post-image."""
    execute(connection, "patches.mark_applied", patch.key)


def mark_rolled_back(connection: Connection, patch: RecordedPatch) -> None:
    """Record that the file holds the pre-image again."""
    execute(connection, "patches.mark_rolled_back", patch.key)
