"""The files of a workspace: which paths are accepted, and the files that an intent carries."""

from collections.abc import Collection

from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.domain.changes.file_diff import FileState

PARTIAL_SUFFIX = ".sisu-partial"
"""The end of the name of a file that is being written."""


class PathNotAllowed(Exception):
    """The path leaves the workspace, or is not a regular file in it."""

    def __init__(self, path: str) -> None:
        super().__init__(f"PATCH_PATH_NOT_ALLOWED:{path}")


class WorkspaceFilesInvalid(Exception):
    """`inputs.files` is not an object that maps paths to text."""


def intent_files(intent: Intent) -> dict[str, FileState]:
    """The files an intent carries in `inputs.files`, by path. Raises WorkspaceFilesInvalid."""
    files = intent.inputs.get("files", {})
    if not isinstance(files, dict) or not all(isinstance(text, str) for text in files.values()):
        raise WorkspaceFilesInvalid("inputs.files must be an object that maps paths to text")
    return {path: FileState(text.encode()) for path, text in files.items()}


def check_folders(paths: Collection[str]) -> None:
    """Raises PathNotAllowed when one path is a folder of another."""
    for path in paths:
        parts = relative_parts(path)
        if any("/".join(parts[:length]) in paths for length in range(1, len(parts))):
            raise PathNotAllowed(path)


def relative_parts(path: str) -> tuple[str, ...]:
    """The components of a workspace path. Raises PathNotAllowed unless plain: `a/b`, never `./a`, `/a`, `a/..`.

    One file has one name, so that a patch and a file the intent ships cannot mean the same file twice.
    """
    parts = tuple(path.split("/"))
    if "\0" in path or any(part in ("", ".", "..") for part in parts) or parts[-1].endswith(PARTIAL_SUFFIX):
        raise PathNotAllowed(path)
    return parts
