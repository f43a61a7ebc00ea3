"""Checks of a request that all providers share: relative paths, valid environment names."""

from pathlib import PurePosixPath

from resources.sandbox.sandbox_port import RequestRefused, TaskContext
from sisu_pipeline.contracts.sandbox_request import SandboxRequest

_LONGEST_PART = 255
_LONGEST_PATH = 4000


def check_request(request: SandboxRequest, context: TaskContext) -> None:
    """Raise RequestRefused for escaping paths, NUL bytes, invalid environment names and an unknown setup."""
    _check_text("cmd", request.cmd)
    for key, value in request.env.items():
        _check_text("env", key)
        _check_text("env", value)
        if not key or "=" in key:
            raise RequestRefused("ENV_NAME_INVALID", f"{key!r} cannot name an environment variable")
    _check_files(request)
    if request.setup is not None and (context.setup is None or context.setup.sha256 != request.setup):
        raise RequestRefused("SETUP_UNKNOWN", "the setup of the request is not the one of its task")
    if request.tree is not None and request.files_in:
        raise RequestRefused("TREE_WITH_FILES", "a request has either a tree or input files")


def safe_relative_path(path: str) -> PurePosixPath:
    """`path` as a path that stays below its folder.

    Raises RequestRefused for an absolute path, an empty, `.` or `..` part, NUL, a lone surrogate and
    names longer than 255 bytes.
    """
    _check_text("path", path)
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise RequestRefused("PATH_INVALID", f"{path!r} is not a plain relative path")
    longest = max(len(part.encode()) for part in parts)
    if longest > _LONGEST_PART or len(path.encode()) > _LONGEST_PATH:
        raise RequestRefused("PATH_INVALID", "a file name is longer than a file system takes")
    return PurePosixPath(path)


def _check_files(request: SandboxRequest) -> None:
    seen: set[PurePosixPath] = set()
    for file in request.files_in:
        path = safe_relative_path(file.path)
        if path in seen:
            raise RequestRefused("PATH_DUPLICATE", f"{file.path!r} is given twice")
        if (file.inline is None) == (file.uri is None):
            raise RequestRefused("FILE_WITHOUT_CONTENT", f"{file.path!r} needs exactly one of inline and uri")
        seen.add(path)
    for path in seen:
        if not seen.isdisjoint(path.parents):
            raise RequestRefused("PATH_DUPLICATE", f"a parent of {str(path)!r} is a file too")


def _check_text(what: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RequestRefused("TEXT_INVALID", f"{what} holds a lone surrogate") from error
    if "\0" in text:
        raise RequestRefused("TEXT_INVALID", f"{what} holds a NUL")
