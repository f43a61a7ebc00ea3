"""A file system of its own for a lab's data folder, in memory, which the lab fills and empties."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from sisu_pipeline.proof.harness.lab_stack import LabFailed

_LEAST_BYTES = 2**30
_ATTEMPTS = 50
_PAUSE_S = 0.02


class NoLimitedDisk(LabFailed):
    """This machine or this user cannot mount a file system. The message is the reason."""


@dataclass(frozen=True)
class LimitedDisk:
    """A mounted file system: its folder and its size in bytes."""

    folder: Path
    size: int

    @contextmanager
    def full(self) -> Iterator[None]:
        """Leave no free space inside the block: the file system becomes as small as its content."""
        for _ in range(_ATTEMPTS):
            # More may be written meanwhile; the kernel refuses a size below that.
            if self._resize(self.used()):
                break
            time.sleep(_PAUSE_S)
        else:
            raise LabFailed(f"{self.folder} cannot be filled: its content grows too fast")
        try:
            yield
        finally:
            self._resize(self.size)

    def used(self) -> int:
        """The bytes in use."""
        state = os.statvfs(self.folder)
        return (state.f_blocks - state.f_bfree) * state.f_frsize

    def _resize(self, size: int) -> bool:
        return _run("mount", "-o", f"remount,size={size}", str(self.folder)) is None


@contextmanager
def limited_disk(folder: Path, size: int | None = None) -> Iterator[LimitedDisk]:
    """Mount an empty file system on a folder; its content remains in the folder afterwards.

    Without a size, half of the available memory. Raises NoLimitedDisk.
    """
    disk = LimitedDisk(folder, size or psutil.virtual_memory().available // 2)
    if size is None and disk.size < _LEAST_BYTES:
        raise NoLimitedDisk(f"it needs {2 * _LEAST_BYTES // 2**30} GB of free memory")
    if folder.is_mount():  # a lab that was killed has left it
        _unmount(folder)
    folder.mkdir(parents=True, exist_ok=True)
    mode = folder.stat().st_mode & 0o777
    problem = _run("mount", "-t", "tmpfs", "-o", f"size={disk.size},mode={mode:o}", "sisu-lab", str(folder))
    if problem is not None:
        raise NoLimitedDisk(f"mounting a file system failed: {problem}")
    try:
        yield disk
    finally:
        _keep_content(folder)


def _keep_content(folder: Path) -> None:
    """Move the content of a file system to the disk below it."""
    kept = folder.with_name(f"{folder.name}.kept")
    shutil.rmtree(kept, ignore_errors=True)
    try:
        problem = _run("cp", "-a", str(folder), str(kept))
    finally:
        _unmount(folder)  # also after a second Ctrl-C
    folder.rmdir()
    kept.rename(folder)
    if problem is not None:
        raise LabFailed(f"the data of the lab was not kept: {problem}")


def _unmount(folder: Path) -> None:
    """Unmount now, or as soon as the last process has closed its files."""
    problem = _run("umount", "--lazy", str(folder))
    if problem is not None:
        raise LabFailed(f"{folder} cannot be unmounted: {problem}")


def _run(*command: str) -> str | None:
    """Run a program; returns why it failed, None when it succeeded."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    return None if done.returncode == 0 else done.stderr.strip() or f"exit {done.returncode}"
