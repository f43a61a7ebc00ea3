"""A run's workspace folder. A path that leads outside is refused before anything is read or written.

Paths are walked component by component with O_NOFOLLOW from the folder's own descriptor, so neither `..`
nor a symbolic link, planted before or during the walk, can lead outside.
"""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sisu_pipeline.domain.changes.workspace_files import PathNotAllowed, partial_name, relative_parts

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class PathTaken(PathNotAllowed):
    """A folder is where the path has a file, or a file where it has a folder."""


@dataclass(frozen=True)
class FileContent:
    """A file's bytes and its permission bits."""

    content: bytes
    mode: int


class Workspace:
    """One run's folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(self) -> None:
        """Create the folder unless it exists."""
        self.root.mkdir(parents=True, exist_ok=True)

    def clear(self) -> None:
        """Remove the folder with everything in it."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self.root)

    def read(self, path: str) -> FileContent | None:
        """The file's content; None when it does not exist. Raises PathNotAllowed or PathTaken."""
        try:
            with self._open(path, os.O_RDONLY) as descriptor, os.fdopen(os.dup(descriptor), "rb") as file:
                return FileContent(file.read(), stat.S_IMODE(os.fstat(descriptor).st_mode))
        except FileNotFoundError:
            return None

    def write(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Write the whole file and create its folders. A reader sees the old or the new content, never a part.

        Raises PathNotAllowed, or PathTaken when a folder is there or a file is where a folder must be.
        """
        *folders, name = relative_parts(path)
        with self._folder(path, folders, create=True) as folder:
            _refuse_special(path, folder, name)
            partial = partial_name(name)
            with suppress(FileNotFoundError):
                os.unlink(partial, dir_fd=folder)  # left by a crash, or planted: a link to elsewhere, a pipe
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    os.fchmod(file.fileno(), mode)
                    file.flush()
                    os.fsync(file.fileno())
                os.rename(partial, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                os.unlink(partial, dir_fd=folder)
                raise

    def remove(self, path: str) -> None:
        """Remove the file and the folders that are empty then. Does nothing when the file does not exist.

        Raises PathNotAllowed.
        """
        *folders, name = relative_parts(path)
        try:
            with self._folder(path, folders, create=False) as folder:
                _refuse_special(path, folder, name)
                os.unlink(name, dir_fd=folder)
        except (FileNotFoundError, PathTaken):
            return
        for depth in range(len(folders), 0, -1):
            try:
                self.root.joinpath(*folders[:depth]).rmdir()
            except OSError:
                return

    @contextmanager
    def _open(self, path: str, flags: int) -> Iterator[int]:
        *folders, name = relative_parts(path)
        with self._folder(path, folders, create=False) as folder:
            _refuse_special(path, folder, name)
            descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            try:
                yield descriptor
            finally:
                os.close(descriptor)

    @contextmanager
    def _folder(self, path: str, folders: list[str], *, create: bool) -> Iterator[int]:
        """The descriptor of the folder that holds the path's last component."""
        current = os.open(self.root, _DIRECTORY)
        try:
            for name in folders:
                current = _descend(path, current, name, create=create)
            yield current
        finally:
            os.close(current)


def _descend(path: str, folder: int, name: str, *, create: bool) -> int:
    """Open a subfolder and close its parent's descriptor."""
    if create:
        with suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=folder)
    try:
        inner = os.open(name, _DIRECTORY, dir_fd=folder)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        _refuse_special(path, folder, name)
        raise PathTaken(path) from error
    os.close(folder)
    return inner


def _refuse_special(path: str, folder: int, name: str) -> None:
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(status.st_mode):
        raise PathTaken(path)
    if not stat.S_ISREG(status.st_mode):
        raise PathNotAllowed(path)
