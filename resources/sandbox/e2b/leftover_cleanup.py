"""Cleanup of orphaned sandboxes: those whose task no process waits for."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from e2b import SandboxInfo

from resources.sandbox.e2b.account import RUN, TASK, Account
from resources.sandbox.e2b.provider_errors import Failed, Phase
from resources.sandbox.e2b.provider_retry import persist
from resources.sandbox.sandbox_port import TaskRef, Wanted

_log = logging.getLogger(__name__)


class Sweeper:
    """Kills sandboxes, and retries those that could not be killed.

    A sandbox is an orphan when its task has a result or its run has ended, as `wanted` reports. Sandboxes of a dead
    process are not orphans: the process that takes over its tasks adopts them. In addition, every sandbox has an
    end of life at E2B.
    """

    def __init__(self, account: Account, wanted: Wanted | None, every_s: float) -> None:
        self._account = account
        self._wanted = wanted
        self._every_s = every_s
        self._ours: set[str] = set()
        self._left: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def keeps(self, sandbox_id: str) -> Iterator[None]:
        """Protect a sandbox that this process uses for the duration of the block."""
        self._ours.add(sandbox_id)
        try:
            yield
        finally:
            self._ours.discard(sandbox_id)

    def start(self) -> None:
        """Sweep periodically on the running event loop."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._keep_sweeping())

    async def stop(self) -> None:
        """Stop sweeping, and retry once to kill what could not be killed."""
        task, self._task = self._task, None
        if task is not None and not task.get_loop().is_closed():
            task.cancel()
            await asyncio.wait({task})
        for sandbox_id in list(self._left):
            await self.kill(sandbox_id)

    async def sweep(self) -> int:
        """Kill every orphan of this deployment and return their number. Raises Failed."""
        for sandbox_id in list(self._left):
            await self.kill(sandbox_id)
        if self._wanted is None:
            return 0
        found = await persist(self._account.find, Phase.BOOT)
        wanted = await self._wanted({_task(info) for info in found})
        orphans = [
            info.sandbox_id for info in found if info.sandbox_id not in self._ours and _task(info) not in wanted
        ]
        return sum([await self.kill(sandbox_id) for sandbox_id in orphans])

    async def reap(self, task_key: str) -> None:
        """Kill every sandbox of a task that has finished in this process."""
        try:
            for info in await persist(lambda: self._account.find(**{TASK: task_key}), Phase.BOOT):
                await self.kill(info.sandbox_id)
        except Failed as failed:
            _log.warning("sandboxes of task %s could not be listed: %s", task_key, failed)

    async def kill(self, sandbox_id: str) -> bool:
        """Kill one sandbox. False if it no longer exists, or could not be killed and will be retried."""
        try:
            killed = await persist(lambda: self._account.kill(sandbox_id), Phase.BOOT)
        except Failed as failed:
            _log.warning("sandbox %s could not be killed: %s", sandbox_id, failed)
            self._left.add(sandbox_id)
            return False
        self._left.discard(sandbox_id)
        return killed

    async def _keep_sweeping(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.sweep()
            except Exception:
                _log.exception("the sweep for orphaned sandboxes failed")


def _task(info: SandboxInfo) -> TaskRef:
    return info.metadata.get(RUN, ""), info.metadata.get(TASK, "")
