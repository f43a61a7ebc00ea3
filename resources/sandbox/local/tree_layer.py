"""The tree below a working folder: mounted read-only where the kernel can, copied otherwise."""

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

from resources.sandbox.local.isolation.file_tree import open_beneath, open_folder
from resources.sandbox.local.user_slots import Slot


def place_folder(folder: Path, slot: Slot) -> None:
    """Create an empty folder beside a working folder: the home, or what an overlay needs. Raises OSError."""
    folder.mkdir(mode=0o700)
    _own(folder, slot)


def copy_tree(tree: Path, work: Path, slot: Slot) -> None:
    """Copy a tree into a working folder, which must not exist; links stay links. Raises OSError."""
    shutil.copytree(tree, work, symlinks=True)
    for folder, _, names in os.walk(work):
        for path in (folder, *(f"{folder}/{name}" for name in names)):
            _own(Path(path), slot)
    for folder, folders, _ in os.walk(work):
        for name in folders:
            if (Path(folder) / name).is_symlink():
                _own(Path(folder) / name, slot)
    work.chmod(0o700)


def reader(tree: Path, most_bytes: int) -> Callable[[str], bytes | None]:
    """A function that reads a regular file of a tree by its path; None for anything else."""

    def read(path: str) -> bytes | None:
        root = open_folder(tree)
        try:
            descriptor = open_beneath(root, tuple(path.split("/")), os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            return None
        finally:
            os.close(root)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            return file.read(most_bytes + 1)

    return read


def _own(path: Path, slot: Slot) -> None:
    if os.getuid() == 0:
        os.chown(path, slot.uid, slot.gid, follow_symlinks=False)
