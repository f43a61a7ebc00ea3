"""Transfer of input files into a sandbox and of output files out of it."""

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from resources.sandbox.local.isolation.file_tree import Entry, TreeTooLarge, open_beneath, open_folder, walk
from resources.sandbox.local.user_slots import Slot
from resources.sandbox.output_files import Collected, OutputLimits, OutputSelection


def place_files(
    work: Path,
    directory: PurePosixPath,
    files: Mapping[str, bytes],
    slot: Slot,
    executables: frozenset[str] = frozenset(),
) -> None:
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
            if path in executables:
                os.fchmod(file.fileno(), 0o755)
        _own(work / target, slot)


def collect_files(
    work: Path, directory: PurePosixPath, placed: Callable[[str], bytes | None], limits: OutputLimits
) -> Collected:
    """Every regular file below `directory` that the command created or changed. Raises OSError.

    `placed` returns the content that a path below `directory` had before.
    """
    root = open_folder(work)
    try:
        return _Collection(limits, placed).run(root, directory)
    finally:
        os.close(root)


class _Collection:
    def __init__(self, limits: OutputLimits, placed: Callable[[str], bytes | None]) -> None:
        self._limits = limits
        self._placed = placed
        self._selection = OutputSelection(limits)

    def run(self, root: int, directory: PurePosixPath) -> Collected:
        try:
            folder = open_beneath(root, (*directory.parts, "."), os.O_RDONLY | os.O_DIRECTORY)
        except (NotADirectoryError, FileNotFoundError, PermissionError):
            self._selection.skip("", "the working directory is gone")
            return self._selection.collected()
        try:
            entries = sorted(walk(folder), key=lambda entry: entry.path)
            for entry in entries:
                self._take(folder, entry)
        except TreeTooLarge:
            self._selection.skip("", "too many files or too deep folders")
        finally:
            os.close(folder)
        return self._selection.collected()

    def _take(self, folder: int, entry: Entry) -> None:
        is_regular = stat.S_ISREG(entry.stat.st_mode)
        reason = self._selection.reason_to_skip(entry.path, is_regular=is_regular, size=entry.stat.st_size)
        if reason is not None:
            self._selection.skip(entry.path, reason)
            return
        try:
            content = self._read(folder, entry.path)
        except OSError:
            self._selection.skip(entry.path, "not readable")
            return
        if self._placed(entry.path) != content:
            self._selection.keep(entry.path, content)

    def _read(self, folder: int, path: str) -> bytes:
        """The content, at most one byte more than allowed. O_NONBLOCK: opening a fifo must not block."""
        descriptor = open_beneath(folder, tuple(path.split("/")), os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(f"{path} is no longer a regular file")
            return file.read(self._limits.bytes_per_file + 1)


def _make_folders(work: Path, folder: PurePosixPath, slot: Slot) -> None:
    for part in (*reversed(folder.parents), folder):
        target = work / part
        if not target.exists():
            target.mkdir(mode=0o755)
            _own(target, slot)


def _own(path: Path, slot: Slot) -> None:
    if os.getuid() == 0:
        os.chown(path, slot.uid, slot.gid, follow_symlinks=False)
