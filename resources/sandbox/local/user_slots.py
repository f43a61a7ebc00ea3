"""Who a sandbox runs as: as root a uid of its own, leased for the time it runs; else the uid that runs us."""

import asyncio
import fcntl
import os
import pwd
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from resources.sandbox.sandbox_port import SandboxUnavailable

_WAIT_SECONDS = 0.02


@dataclass(frozen=True)
class Slot:
    """The real uid and gid of one sandbox."""

    uid: int
    gid: int


class SharedSlot:
    """Without root there is one uid: ours. Sandboxes still cannot see each other's processes or folders."""

    is_own_uid = False

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[Slot]:
        """The uid that runs us."""
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
        """A uid nobody else on the machine holds, until the block ends."""
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
            self._taken.add(uid)
            return uid, lock
        return 0, None


def _is_account(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _is_mapped(uid: int) -> bool:
    """Whether this user namespace knows the uid (a container may map only a part of them)."""
    for line in Path("/proc/self/uid_map").read_text().splitlines():
        first, _, count = map(int, line.split())
        if first <= uid < first + count:
            return True
    return False
