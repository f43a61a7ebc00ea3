"""The data folder of one running provider, and cleanup after those that were killed.

    <home>/boxes/<instance>/<number>-<name>   the working folder of one sandbox, removed at its end
    <home>/boxes/<instance>/<number>-<name>.home    beside it: the home folder of the command, for its caches
    <home>/boxes/<instance>/<number>-<name>.layer   beside it, when a tree is mounted below it
    <home>/boxes/<instance>.lock              held while the instance lives; a worker that can lock it cleans up
    <home>/interrupted/<name>                 a task whose worker died while it ran, until it runs again; not for
                                              the sandboxes of agents, whose work is never continued

`name` is a hash of the task key.
"""

import fcntl
import os
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from resources.sandbox.local.isolation.file_tree import remove_tree
from sisu_pipeline.domain.canonical import sha256_hex

HOME_SUFFIX = ".home"
"""End of the name of the home folder beside a working folder."""

LAYER_SUFFIX = ".layer"
"""End of the name of the empty folder beside a working folder that has a tree below it."""

_REMEMBERED_S = 7 * 24 * 3600


@dataclass(frozen=True)
class Instance:
    """The data folder of one running provider, and the lock that it holds while it lives."""

    boxes: Path
    lock: int

    @classmethod
    def create(cls, home: Path, *, remembers_interrupted: bool = True) -> "Instance":
        """Clean up after dead instances, then create a new folder. Raises OSError."""
        parent = home / "boxes"
        parent.mkdir(parents=True, exist_ok=True)
        parent.chmod(0o711)  # whatever the umask: a sandbox's uid passes through
        _interrupted(parent).mkdir(mode=0o700, exist_ok=True)
        _forget_old(_interrupted(parent))
        remove_dead(home, remembers_interrupted=remembers_interrupted)
        while True:
            lock, name = tempfile.mkstemp(dir=parent, suffix=".lock")
            fcntl.flock(lock, fcntl.LOCK_EX)
            if Path(name).exists():
                break
            os.close(lock)  # another worker swept it between its creation and our lock
        boxes = Path(name).with_suffix("")
        boxes.mkdir()
        boxes.chmod(0o711)
        return cls(boxes, lock)

    def remove(self) -> None:
        """Remove the folder and release its lock."""
        remove_tree(self.boxes)
        self.boxes.with_suffix(".lock").unlink()
        os.close(self.lock)

    def box(self, number: int, task_key: str) -> str:
        """The name of a sandbox's working folder below `boxes`."""
        return f"{number}-{_name(task_key)}"

    def was_interrupted(self, task_key: str) -> bool:
        """Whether another worker died while it ran this task. The first call consumes the information.

        A task belongs to one worker at a time, so the owner of another folder for it is dead.
        """
        name = _name(task_key)
        try:
            (_interrupted(self.boxes.parent) / name).unlink()
        except FileNotFoundError:
            return any(box.parent != self.boxes for box in self.boxes.parent.glob(f"*/*-{name}"))
        return True


def remove_dead(home: Path, *, remembers_interrupted: bool) -> None:
    """Remove the folders of instances whose worker is dead, and remember the interrupted tasks if wanted."""
    for lock_file in (home / "boxes").glob("*.lock"):
        _remove_if_dead(lock_file, remembers_interrupted=remembers_interrupted)


def _remove_if_dead(lock_file: Path, *, remembers_interrupted: bool) -> None:
    try:
        lock = os.open(lock_file, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        boxes = lock_file.with_suffix("")
        if boxes.exists():
            if remembers_interrupted:
                for box in (found for found in boxes.iterdir() if found.suffix not in (HOME_SUFFIX, LAYER_SUFFIX)):
                    (_interrupted(boxes.parent) / box.name.partition("-")[2]).touch(mode=0o600)
            remove_tree(boxes)
        lock_file.unlink(missing_ok=True)
    except OSError:
        # The worker lives, or a process of a sandbox is still ending in its folder, which a later cleanup removes.
        return
    finally:
        os.close(lock)


def _interrupted(boxes: Path) -> Path:
    return boxes.with_name("interrupted")


def _forget_old(folder: Path) -> None:
    """Tasks of canceled runs never run again, so their entries expire."""
    for mark in folder.iterdir():
        with suppress(FileNotFoundError):
            if time.time() - mark.stat().st_mtime > _REMEMBERED_S:
                mark.unlink()


def _name(task_key: str) -> str:
    return sha256_hex(task_key)[:32]
