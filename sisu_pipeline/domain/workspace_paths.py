"""Paths inside a workspace: which ones are accepted."""

PARTIAL_SUFFIX = ".sisu-partial"
"""The end of the name of a file that is being written."""


class PathNotAllowed(Exception):
    """The path leaves the workspace, or is not a regular file in it."""

    def __init__(self, path: str) -> None:
        super().__init__(f"PATCH_PATH_NOT_ALLOWED:{path}")


def relative_parts(path: str) -> tuple[str, ...]:
    """The components of a workspace path. Raises PathNotAllowed unless plain: `a/b`, never `./a`, `/a`, `a/..`.

    One file has one name, so that a patch and a file the intent ships cannot mean the same file twice.
    """
    parts = tuple(path.split("/"))
    if "\0" in path or any(part in ("", ".", "..") for part in parts) or parts[-1].endswith(PARTIAL_SUFFIX):
        raise PathNotAllowed(path)
    return parts
