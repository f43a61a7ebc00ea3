"""How much disk a sandbox uses, seen from outside: its folder, and files it unlinked and still holds.

Unseen is only what is in flight between two processes, in the queue of a socket and in no table.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from resources.sandbox.local.isolation.file_tree import open_folder, walk
from resources.sandbox.local.isolation.memory_limit import members

_BLOCK = 512
_DELETED = " (deleted)"


def used_bytes(work: Path, init: int | None = None) -> int:
    """Bytes below `work` and of the unlinked files of the pid namespace whose first process is `init` on the host.

    Raises TreeTooLarge, OSError.
    """
    root = open_folder(work)
    try:
        device = os.fstat(root).st_dev
        named = sum(entry.stat.st_blocks * _BLOCK for entry in walk(root))
    finally:
        os.close(root)
    unnamed: dict[int, int] = {}
    for pid in [] if init is None else members(init):
        unnamed |= dict(_unlinked(pid, device))
    return named + sum(unnamed.values())


def _unlinked(pid: int, device: int) -> Iterator[tuple[int, int]]:
    """Inode and bytes of files without a name that a process has open, or only mapped any more."""
    yield from _among(f"/proc/{pid}/fd", device)
    with suppress(OSError):
        if _DELETED in Path(f"/proc/{pid}/maps").read_text():
            yield from _among(f"/proc/{pid}/map_files", device)


def _among(folder: str, device: int) -> Iterator[tuple[int, int]]:
    with suppress(OSError):  # it has ended; or map_files, which needs more than one's own uid
        for name in os.listdir(folder):  # noqa: PTH208 - thousands of names, four times a second
            with suppress(OSError):
                found = os.stat(f"{folder}/{name}")  # noqa: PTH116
                if found.st_nlink == 0 and found.st_dev == device and stat.S_ISREG(found.st_mode):
                    yield found.st_ino, found.st_blocks * _BLOCK
