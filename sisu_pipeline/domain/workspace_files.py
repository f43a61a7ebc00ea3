"""The files of a workspace: which paths are accepted, and the content that an intent and its plan give them."""

from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.contracts.step_outputs import Plan

PARTIAL_SUFFIX = ".sisu-partial"
"""The end of the name of a file that is being written."""


class PathNotAllowed(Exception):
    """The path leaves the workspace, or is not a regular file in it."""

    def __init__(self, path: str) -> None:
        super().__init__(f"PATCH_PATH_NOT_ALLOWED:{path}")


class WorkspaceFilesInvalid(Exception):
    """`inputs.files` is not an object that maps paths to text."""


def intent_files(intent: Intent) -> dict[str, str]:
    """The files an intent carries in `inputs.files`, as text by path. Raises WorkspaceFilesInvalid."""
    files = intent.inputs.get("files", {})
    if not isinstance(files, dict) or not all(isinstance(text, str) for text in files.values()):
        raise WorkspaceFilesInvalid("inputs.files must be an object that maps paths to text")
    return files


def workspace_files(intent: Intent, plan: Plan) -> dict[str, str]:
    """The files of the workspace after the plan is applied, from the intent and the plan alone."""
    patched = {patch.target_path: patch.postimage_content for patch in plan.patch_plan or []}
    return intent_files(intent) | patched


def relative_parts(path: str) -> tuple[str, ...]:
    """The components of a workspace path. Raises PathNotAllowed unless plain: `a/b`, never `./a`, `/a`, `a/..`.

    One file has one name, so that a patch and a file the intent ships cannot mean the same file twice.
    """
    parts = tuple(path.split("/"))
    if "\0" in path or any(part in ("", ".", "..") for part in parts) or parts[-1].endswith(PARTIAL_SUFFIX):
        raise PathNotAllowed(path)
    return parts
