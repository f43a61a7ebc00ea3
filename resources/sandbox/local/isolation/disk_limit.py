"""Disk usage of a sandbox: its files and folders, and unlinked files that it still holds open.

Not counted: descriptors in transit between two processes, in the queue of a socket.
"""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from resources.sandbox.local.isolation.file_tree import (
    MOST_ENTRIES,
    FolderSizes,
    TreeTooLarge,
    open_folder,
    walk,
)
from resources.sandbox.local.isolation.memory_limit import members

MOST_DESCRIPTORS = 100_000
"""The most open descriptors of one sandbox; a command that opens more is stopped."""

_BLOCK = 512
_DELETED = " (deleted)"


def used_bytes(work: Path, init: int | None = None, most_entries: int = MOST_ENTRIES) -> int:
    """Bytes below `work` and of the unlinked files of the pid namespace whose first process is `init` on the host.

    Raises TreeTooLarge (more than `most_entries` or, also, MOST_DESCRIPTORS open descriptors), OSError.
    """
    root = open_folder(work)
    try:
        device = os.fstat(root).st_dev
        sizes = FolderSizes()
        named = sum(entry.stat.st_blocks * _BLOCK for entry in walk(root, sizes, most_entries)) + sizes.total
    finally:
        os.close(root)
    unnamed: dict[int, int] = {}
    looked_at = Counter[str]()
    for pid in [] if init is None else members(init):
        unnamed |= dict(_unlinked(pid, device, looked_at))
        if looked_at["descriptors"] > MOST_DESCRIPTORS:
            raise TreeTooLarge
    return named + sum(unnamed.values())


def _unlinked(pid: int, device: int, looked_at: Counter[str]) -> Iterator[tuple[int, int]]:
    """Inode and bytes of files without a name that a process has open or mapped."""
    yield from _among(f"/proc/{pid}/fd", device, looked_at)
    with suppress(OSError):
        if _DELETED in Path(f"/proc/{pid}/maps").read_text():
            yield from _among(f"/proc/{pid}/map_files", device, looked_at)


def _among(folder: str, device: int, looked_at: Counter[str]) -> Iterator[tuple[int, int]]:
    with suppress(OSError):  # it has ended; or map_files, which needs more than one's own uid
        for name in os.listdir(folder):  # noqa: PTH208 - thousands of names, four times a second
            looked_at["descriptors"] += 1
            with suppress(OSError):
                found = os.stat(f"{folder}/{name}")  # noqa: PTH116
                if found.st_nlink == 0 and found.st_dev == device and stat.S_ISREG(found.st_mode):
                    yield found.st_ino, found.st_blocks * _BLOCK
