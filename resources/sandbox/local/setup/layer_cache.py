"""Folders that are made once, used by many tasks of many processes, and removed when unused.

    <folder>/<name>         a finished layer, renamed into place
    <folder>/<name>.lock    locked shared while tasks use the layer, exclusively while it is made or removed

The kernel releases the locks of a process that ends. A lock file contains the size of its layer in bytes, and its
modification time is that of the last use.
"""

import asyncio
import fcntl
import os
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

Maker = Callable[[Path], Awaitable[int]]
"""Makes a layer at a path that does not exist, at once, and returns its size in bytes."""

_WAIT_S = 0.1
_KEPT_S = 7 * 24 * 3600
_LOCK, _REMOVED = ".lock", ".removed"
_MIB = 1024 * 1024


class LayerCache:
    """The layers below a folder, at most `quota_mb` MiB together unless more are in use."""

    def __init__(self, folder: Path, quota_mb: int) -> None:
        self._folder = folder
        self._quota_bytes = quota_mb * _MIB
        self._makers: dict[str, _Making] = {}

    @asynccontextmanager
    async def use(self, name: str, make: Maker) -> AsyncIterator[Path]:
        """The layer of a name, made unless it is there; it stays for the duration of the block.

        Raises what `make` raises; all tasks of this process that wait for the layer get the same failure.
        """
        lock = await self._locked_layer(name, make)
        try:
            yield self._folder / name
        finally:
            os.close(lock)

    async def stop(self) -> None:
        """Cancel what is being made; the tasks that wait for it are canceled too."""
        makers = [making.task for making in self._makers.values()]
        for maker in makers:
            maker.cancel()
        await asyncio.gather(*makers, return_exceptions=True)

    async def _locked_layer(self, name: str, make: Maker) -> int:
        while True:
            lock = self._try_lock(name, fcntl.LOCK_SH)
            if lock is not None:
                if (self._folder / name).is_dir():
                    os.utime(lock)
                    return lock
                os.close(lock)
                await self._made(name, make)
            elif name in self._makers:
                await self._made(name, make)
            else:
                await asyncio.sleep(_WAIT_S)  # another process makes it

    async def _made(self, name: str, make: Maker) -> None:
        """Wait until the layer is made, by one task for all that wait. The last one to be canceled cancels it."""
        making = self._makers.get(name)
        if making is None:
            making = self._makers[name] = _Making(asyncio.create_task(self._make(name, make)))
            making.task.add_done_callback(lambda _: self._makers.pop(name, None))
        making.waiting += 1
        try:
            await asyncio.shield(making.task)
        finally:
            making.waiting -= 1
            if making.waiting == 0 and not making.task.done():
                making.task.cancel()
                await asyncio.wait({making.task})

    async def _make(self, name: str, make: Maker) -> None:
        while (lock := self._try_lock(name, fcntl.LOCK_EX)) is None:
            await asyncio.sleep(_WAIT_S)
        try:
            if not (self._folder / name).is_dir():
                size = await make(self._folder / name)
                os.pwrite(lock, b"%d" % size, 0)
        finally:
            os.close(lock)
        await asyncio.to_thread(self._remove_unused, name)

    def _try_lock(self, name: str, kind: int) -> int | None:
        """A lock of that kind on a layer; None while another process or task holds one that excludes it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o711)  # whatever the umask: a sandbox's uid passes through
        path = self._folder / f"{name}{_LOCK}"
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
            if os.fstat(lock).st_nlink > 0:
                return lock
        except BlockingIOError:
            pass
        os.close(lock)
        return None

    def _remove_unused(self, kept: str) -> None:
        """Remove layers unused for a week, and those unused for longest until the rest is within the quota.

        The one that was just made is kept, whatever its size: the tasks that wait for it have not locked it yet.
        """
        for left in self._folder.glob(f"*{_REMOVED}"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        used = sorted(self._last_uses())
        total = sum(size for _, size, _ in used)
        for last_use, size, name in used:
            is_old = time.time() - last_use > _KEPT_S
            if name != kept and (is_old or total > self._quota_bytes) and self._remove(name):
                total -= size

    def _last_uses(self) -> list[tuple[float, int, str]]:
        found = []
        for lock in self._folder.glob(f"*{_LOCK}"):
            with suppress(FileNotFoundError):
                found.append((lock.stat().st_mtime, int(lock.read_text() or 0), lock.name.removesuffix(_LOCK)))
        return found

    def _remove(self, name: str) -> bool:
        """Remove a layer; False while it is used."""
        lock = self._try_lock(name, fcntl.LOCK_EX)
        if lock is None:
            return False
        try:
            removed = self._folder / f"{name}{_REMOVED}"
            with suppress(FileNotFoundError):
                (self._folder / name).rename(removed)
                shutil.rmtree(removed, ignore_errors=True)
            (self._folder / f"{name}{_LOCK}").unlink(missing_ok=True)
        finally:
            os.close(lock)
        return True


class _Making:
    """A layer that is being made, and how many tasks wait for it."""

    def __init__(self, task: "asyncio.Task[None]") -> None:
        self.task = task
        self.waiting = 0
