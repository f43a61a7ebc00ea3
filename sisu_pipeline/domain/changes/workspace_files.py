"""The files of a workspace: which paths are accepted, and the files that an intent carries."""

from collections.abc import Collection
from itertools import pairwise

from sisu_pipeline.contracts.field_errors import shown
from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.domain.canonical import sha256_hex
from sisu_pipeline.domain.changes.file_diff import FileState

# Code points that HFS+ leaves out when it compares names.
_IGNORED_BY_HFS = dict.fromkeys([*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF])
_GIT_FOLDERS = frozenset({".git", "git~1"})
PARTIAL_SUFFIX = ".sisu-partial"
"""The end of the name of a file that is being written."""


MAX_NAME_BYTES = 255
"""What Linux file systems store as the name of one file."""
MAX_PATH_BYTES = 2048
"""A path is part of a key in Postgres, which has at most 2,704 bytes."""


class PathNotAllowed(Exception):
    """The path leaves the workspace, is too long, or is not a regular file in it."""

    def __init__(self, path: str, reason: str | None = None) -> None:
        super().__init__(f"PATCH_PATH_NOT_ALLOWED:{path}" + (f" ({reason})" if reason else ""))


class WorkspaceFilesInvalid(Exception):
    """`inputs.files` is not an object that maps paths to text."""


def intent_files(intent: Intent) -> dict[str, FileState]:
    """The files an intent carries in `inputs.files`, by path. Raises WorkspaceFilesInvalid."""
    files = intent.inputs.get("files", {})
    if not isinstance(files, dict) or not all(isinstance(text, str) for text in files.values()):
        raise WorkspaceFilesInvalid("inputs.files must be an object that maps paths to text")
    return {path: FileState(text.encode()) for path, text in files.items()}


def check_folders(paths: Collection[str]) -> None:
    """Raises PathNotAllowed for a path that is not plain, or when one path is a folder of another."""
    for path in paths:
        relative_parts(path)
    nested = file_in_file(paths)
    if nested is not None:
        raise PathNotAllowed(nested[1])


def file_in_file(paths: Collection[str]) -> tuple[str, str] | None:
    """A path and another one that it would have to be the folder of; None when all can be files."""
    # In this order, everything below a path comes right behind it.
    ordered = sorted(paths, key=lambda path: path.replace("/", "\0"))
    return next((pair for pair in pairwise(ordered) if pair[1].startswith(f"{pair[0]}/")), None)


def is_in_git_folder(path: str) -> bool:
    """Whether a file system takes a component of the path for `.git`.

    NTFS ignores case, spaces and dots at the end, and a stream's name after a colon, and has the short name
    `git~1`; HFS+ ignores case and some invisible characters.
    """
    return any(_plain_name(part) in _GIT_FOLDERS for part in path.replace("\\", "/").split("/"))


def _plain_name(part: str) -> str:
    return part.translate(_IGNORED_BY_HFS).partition(":")[0].rstrip(" .").casefold()


def path_fault(path: str) -> str | None:
    """Why a path is too long; None when it is not."""
    encoded = path.encode("utf-8", "surrogatepass")
    if len(encoded) > MAX_PATH_BYTES:
        return f"a path has at most {MAX_PATH_BYTES} bytes (got {len(encoded)})"
    longest = max(map(len, encoded.split(b"/")))
    if longest > MAX_NAME_BYTES:
        return f"a name in a path has at most {MAX_NAME_BYTES} bytes (got {longest})"
    return None


def path_error(path: str) -> str | None:
    """The sentence about a path that no workspace takes; None for a plain one."""
    if (fault := path_fault(path)) is not None:
        return f"{fault}: {shown(path)}"
    if path.endswith(PARTIAL_SUFFIX):
        return f"path {shown(path)} must not end with {PARTIAL_SUFFIX}, which marks unfinished files"
    if not _is_plain(path):
        return f"path {shown(path)} must be relative and stay in the workspace: no '.', '..' or empty part"
    return None


def _is_plain(path: str) -> bool:
    return "\0" not in path and all(part not in ("", ".", "..") for part in path.split("/"))


def partial_name(name: str) -> str:
    """The name of a file that is being written, for one that can be as long as any name."""
    partial = f".{name}{PARTIAL_SUFFIX}"
    return partial if len(partial.encode()) <= MAX_NAME_BYTES else f".{sha256_hex(name)}{PARTIAL_SUFFIX}"


def relative_parts(path: str) -> tuple[str, ...]:
    """The components of a workspace path. Raises PathNotAllowed unless plain: `a/b`, never `./a`, `/a`, `a/..`.

    One file has one name, so that a patch and a file the intent ships cannot mean the same file twice.
    """
    if (fault := path_fault(path)) is not None:
        raise PathNotAllowed(path, fault)
    if not _is_plain(path) or path.endswith(PARTIAL_SUFFIX):
        raise PathNotAllowed(path)
    return tuple(path.split("/"))
