"""The uid of a sandbox: leased from a range when root runs the worker, otherwise the worker's own."""

import asyncio
import fcntl
import os
import pwd
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from resources.sandbox.sandbox_port import SandboxUnavailable

_WAIT_SECONDS = 0.02
_EVICTION_SECONDS = 2.0


@dataclass(frozen=True)
class Slot:
    """The real uid and gid of one sandbox."""

    uid: int
    gid: int


class SharedSlot:
    """Without root all sandboxes share the worker's uid, but not their processes or folders."""

    is_own_uid = False

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[Slot]:
        """The uid of the worker."""
        yield Slot(os.getuid(), os.getgid())


class UidPool:
    """A range of uids shared by all workers of the machine.

    A lease is a lock on a file, which the kernel releases when its holder dies; there is nothing to clean up
    after a crash. When all uids are taken, `lease` waits: the pool also bounds how many sandboxes run at once.
    """

    is_own_uid = True

    def __init__(self, folder: Path, first: int, count: int) -> None:
        """Raises SandboxUnavailable when no uid of the range can be used."""
        self._folder = folder
        self._uids = [uid for uid in range(first, first + count) if _is_mapped(uid) and not _is_account(uid)]
        if not self._uids:
            raise SandboxUnavailable(
                f"no uid between {first} and {first + count - 1} is usable: each belongs to an account or is "
                "outside this container's uid map; choose another range"
            )
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._taken: set[int] = set()

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[Slot]:
        """Lease a uid without processes for the duration of the block."""
        uid, lock = self._try_lease()
        while lock is None:
            await asyncio.sleep(_WAIT_SECONDS)
            uid, lock = self._try_lease()
        try:
            yield Slot(uid, uid)
        finally:
            self._taken.discard(uid)
            os.close(lock)

    def _try_lease(self) -> tuple[int, int | None]:
        for uid in self._uids:
            if uid in self._taken:
                continue
            lock = os.open(self._folder / str(uid), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            if _evict(uid):
                self._taken.add(uid)
                return uid, lock
            os.close(lock)
        return 0, None


def _evict(uid: int) -> bool:
    """Kill processes under the uid that a dead worker left; True if none remains."""
    deadline = time.monotonic() + _EVICTION_SECONDS
    while left := [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _runs_as(pid, uid)]:  # noqa: PTH208
        if time.monotonic() > deadline:
            return False
        for pid in left:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_WAIT_SECONDS)
    return True


def _runs_as(pid: int, uid: int) -> bool:
    """Whether the process runs under the uid; zombies do not count."""
    try:
        if os.stat(f"/proc/{pid}").st_uid != uid:  # noqa: PTH116 - for every process of the machine
            return False
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _is_account(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _is_mapped(uid: int) -> bool:
    """Whether this user namespace maps the uid (a container may map only some)."""
    for line in Path("/proc/self/uid_map").read_text().splitlines():
        first, _, count = map(int, line.split())
        if first <= uid < first + count:
            return True
    return False
