"""Files into a sandbox before the command runs, and out of it afterwards."""

import base64
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from resources.sandbox.local.slots import Slot
from resources.sandbox.local.tree import Entry, TreeTooLarge, open_beneath, open_folder, walk
from sisu_pipeline.canonical import sha256_hex
from sisu_pipeline.contracts.sandbox import FileOut

_MOST_SKIPPED_NAMED = 50


@dataclass(frozen=True)
class OutputLimits:
    """How much of what a command leaves behind is returned."""

    files: int = 256
    bytes_per_file: int = 4 * 1024 * 1024
    bytes_total: int = 16 * 1024 * 1024


@dataclass(frozen=True)
class Collected:
    """The files a command left, sorted by path, and `evidence` for raw: what was not returned, and why."""

    files: tuple[FileOut, ...]
    evidence: dict[str, Any]


def place_files(work: Path, directory: PurePosixPath, files: Mapping[str, bytes], slot: Slot) -> None:
    """Create `work` with `files` (path below `directory` -> content), all owned by `slot`. Raises OSError."""
    work.mkdir(mode=0o700)
    _own(work, slot)
    _make_folders(work, directory, slot)
    for path, content in files.items():
        target = directory / path
        _make_folders(work, target.parent, slot)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(work / target, flags, 0o644), "wb") as file:
            file.write(content)
        _own(work / target, slot)


def collect_files(
    work: Path, directory: PurePosixPath, placed: Mapping[str, bytes], limits: OutputLimits
) -> Collected:
    """Every regular file below `directory` that the command created or changed. Raises OSError."""
    root = open_folder(work)
    try:
        return _Collection(limits, placed).run(root, directory)
    finally:
        os.close(root)


class _Collection:
    def __init__(self, limits: OutputLimits, placed: Mapping[str, bytes]) -> None:
        self._limits = limits
        self._placed = placed
        self._files: list[FileOut] = []
        self._bytes = 0
        self._skipped: list[dict[str, str]] = []

    def run(self, root: int, directory: PurePosixPath) -> Collected:
        try:
            folder = open_beneath(root, (*directory.parts, "."), os.O_RDONLY | os.O_DIRECTORY)
        except (NotADirectoryError, FileNotFoundError, PermissionError):
            self._skip("", "the working directory is gone")
            return self._result()
        try:
            entries = sorted(walk(folder), key=lambda entry: entry.path)
            for entry in entries:
                self._take(folder, entry)
        except TreeTooLarge:
            self._skip("", "too many files or too deep folders")
        finally:
            os.close(folder)
        return self._result()

    def _take(self, folder: int, entry: Entry) -> None:
        reason = self._reason_to_skip(entry)
        if reason is not None:
            self._skip(entry.path, reason)
            return
        try:
            content = self._read(folder, entry.path)
        except OSError:
            self._skip(entry.path, "not readable")
            return
        if content is None:
            self._skip(entry.path, f"larger than {self._limits.bytes_per_file} bytes")
        elif self._placed.get(entry.path) != content:
            self._keep(entry.path, content)

    def _reason_to_skip(self, entry: Entry) -> str | None:
        if not stat.S_ISREG(entry.stat.st_mode):
            return "not a regular file"
        if not _is_unicode(entry.path):
            return "the name is not UTF-8"
        if entry.stat.st_size > self._limits.bytes_per_file:
            return f"larger than {self._limits.bytes_per_file} bytes"
        return None

    def _read(self, folder: int, path: str) -> bytes | None:
        """The content, None when it is larger than allowed. O_NONBLOCK: a fifo must not hold us."""
        descriptor = open_beneath(folder, tuple(path.split("/")), os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(f"{path} is no regular file any more")
            content = file.read(self._limits.bytes_per_file + 1)
        return content if len(content) <= self._limits.bytes_per_file else None

    def _keep(self, path: str, content: bytes) -> None:
        if len(self._files) >= self._limits.files:
            self._skip(path, f"more than {self._limits.files} files")
        elif self._bytes + len(content) > self._limits.bytes_total:
            self._skip(path, f"more than {self._limits.bytes_total} bytes in all")
        else:
            self._bytes += len(content)
            self._files.append(_file_out(path, content))

    def _skip(self, path: str, reason: str) -> None:
        printable = path if _is_unicode(path) else path.encode("utf-8", "surrogateescape").hex()
        self._skipped.append({"path": printable, "reason": reason})

    def _result(self) -> Collected:
        evidence: dict[str, Any] = {"returned": len(self._files), "bytes": self._bytes}
        if self._skipped:
            evidence["skipped"] = len(self._skipped)
            evidence["skippedFiles"] = self._skipped[:_MOST_SKIPPED_NAMED]
        return Collected(tuple(self._files), evidence)


def _file_out(path: str, content: bytes) -> FileOut:
    """Text goes inline; anything else (NUL included, which Postgres text cannot hold) as a data: URI."""
    digest = sha256_hex(content)
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" not in text:
        return FileOut(path=path, sha256=digest, inline=text)
    encoded = base64.b64encode(content).decode()
    return FileOut(path=path, sha256=digest, uri=f"data:application/octet-stream;base64,{encoded}")


def _make_folders(work: Path, folder: PurePosixPath, slot: Slot) -> None:
    for part in (*reversed(folder.parents), folder):
        target = work / part
        if not target.exists():
            target.mkdir(mode=0o755)
            _own(target, slot)


def _own(path: Path, slot: Slot) -> None:
    if os.getuid() == 0:
        os.chown(path, slot.uid, slot.gid, follow_symlinks=False)


def _is_unicode(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
