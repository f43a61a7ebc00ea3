"""Walking and removal of folders with hostile content, without following links."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MOST_ENTRIES = 50_000
MOST_DEPTH = 64

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class TreeTooLarge(Exception):
    """The tree has more entries or deeper folders than the limits."""


@dataclass(frozen=True)
class Entry:
    """Something that is not a folder: its path below the root (undecodable bytes as surrogates), its lstat."""

    path: str
    stat: os.stat_result


@dataclass
class FolderSizes:
    """Sum of the sizes of the folders themselves, in bytes."""

    total: int = 0


def open_folder(path: Path) -> int:
    """A descriptor of the folder `path`, which must not be a link. Raises OSError."""
    return os.open(path, _OPEN_FOLDER)


def open_beneath(root: int, parts: tuple[str, ...], flags: int) -> int:
    """Open `parts` below the folder `root`, no part of it through a link. Raises OSError."""
    folder = os.dup(root)
    try:
        for part in parts[:-1]:
            inner = os.open(part, _OPEN_FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(parts[-1], flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    finally:
        os.close(folder)


def remove_empty_file(folder: Path, path: str) -> None:
    """Remove the file at a path below a folder if it is empty, through no link; leave anything else."""
    *folders, name = path.split("/")
    with suppress(OSError):
        root = open_folder(folder)
        try:
            parent = open_beneath(root, (*folders, "."), _OPEN_FOLDER)
        finally:
            os.close(root)
        try:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode) and found.st_size == 0:
                os.unlink(name, dir_fd=parent)
        finally:
            os.close(parent)


def walk(root: int, sizes: FolderSizes | None = None, most_entries: int = MOST_ENTRIES) -> Iterator[Entry]:
    """Every entry below the folder `root` that is not a folder; entries that vanish meanwhile are omitted.

    `sizes` receives the sizes of the folders themselves.

    Raises TreeTooLarge beyond `most_entries` (folders count) or MOST_DEPTH.
    """
    seen = 0
    stack = [(os.dup(root), "")]
    iterators = [os.scandir(stack[0][0])]
    try:
        while iterators:
            entry = next(iterators[-1], None)
            folder, prefix = stack[-1]
            if entry is None:
                iterators.pop().close()
                os.close(stack.pop()[0])
                continue
            seen += 1
            if seen > most_entries or len(stack) > MOST_DEPTH:
                raise TreeTooLarge
            found = _describe(entry, folder)
            if isinstance(found, os.stat_result):
                yield Entry(prefix + entry.name, found)
            elif found is not None:
                if sizes is not None:
                    sizes.total += os.fstat(found).st_blocks * 512
                stack.append((found, f"{prefix}{entry.name}/"))
                iterators.append(os.scandir(found))
    finally:
        for iterator in iterators:
            iterator.close()
        for descriptor, _ in stack:
            os.close(descriptor)


def remove_tree(path: Path) -> None:
    """Remove `path` and everything below, however deep or unreadable. No process may still run in it.

    Every folder is moved up to the root before it is emptied, so depth costs neither stack nor descriptors.
    """
    root = open_folder(path)
    serial = 0
    try:
        while names := os.listdir(root):  # noqa: PTH208 - of a descriptor
            for name in names:
                if stat.S_ISDIR(os.lstat(name, dir_fd=root).st_mode):
                    serial = _empty_folder(root, name, serial)
                    os.rmdir(name, dir_fd=root)
                else:
                    os.unlink(name, dir_fd=root)
    finally:
        os.close(root)
    path.rmdir()


def _describe(entry: "os.DirEntry[str]", folder: int) -> os.stat_result | int | None:
    """The lstat of an entry, an open descriptor of a folder, or None if it vanished or is unreadable."""
    try:
        if entry.is_dir(follow_symlinks=False):
            return os.open(entry.name, _OPEN_FOLDER, dir_fd=folder)
        return entry.stat(follow_symlinks=False)
    except OSError:
        return None


def _empty_folder(root: int, name: str, serial: int) -> int:
    os.chmod(name, 0o700, dir_fd=root)
    folder = os.open(name, _OPEN_FOLDER, dir_fd=root)
    try:
        for inner in os.listdir(folder):  # noqa: PTH208 - of a descriptor
            if stat.S_ISDIR(os.lstat(inner, dir_fd=folder).st_mode):
                os.chmod(inner, 0o700, dir_fd=folder)  # moving a folder requires write permission on it
                serial = _move_up(folder, inner, root, serial)
            else:
                os.unlink(inner, dir_fd=folder)
    finally:
        os.close(folder)
    return serial


def _move_up(folder: int, inner: str, root: int, serial: int) -> int:
    while True:
        serial += 1
        try:
            os.rename(inner, f"removed-{serial}", src_dir_fd=folder, dst_dir_fd=root)
            return serial
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
