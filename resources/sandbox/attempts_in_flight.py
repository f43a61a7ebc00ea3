"""Executions of this process by task key, for callers that join or kill a running one."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from sisu_pipeline.contracts.sandbox_request import SandboxResult


class Running:
    """One execution: `kill_asked` requests its end, `outcome` is its result (None: canceled)."""

    def __init__(self, idempotency_key: str | None) -> None:
        self.idempotency_key = idempotency_key
        self.kill_asked = asyncio.Event()
        self.outcome: asyncio.Future[SandboxResult | None] = asyncio.get_running_loop().create_future()


class InFlight:
    """The running executions. A task key has several only when requests carry no idempotency key."""

    def __init__(self) -> None:
        self._running: dict[str, list[Running]] = {}

    @contextmanager
    def enter(self, task_key: str, idempotency_key: str | None) -> Iterator[Running]:
        """Register an execution while the block lasts; the block sets `outcome` when there is one."""
        running = Running(idempotency_key)
        self._running.setdefault(task_key, []).append(running)
        try:
            yield running
        finally:
            self._leave(task_key, running)

    async def adopt(self, task_key: str, idempotency_key: str | None = None) -> SandboxResult | None:
        """The result of a running execution of `task_key` (and idempotency key, if given); None if none runs."""
        for running in self._running.get(task_key, []):
            if idempotency_key is None or running.idempotency_key == idempotency_key:
                # The execution is not ours to cancel: only this wait is.
                return await asyncio.shield(running.outcome)
        return None

    async def join(self, task_key: str, idempotency_key: str | None) -> SandboxResult | None:
        """The result of the execution with that idempotency key; None when the caller is to execute it."""
        while idempotency_key is not None and self.is_running(task_key, idempotency_key):
            # None: that execution was canceled meanwhile, and another waiter may already have replaced it.
            adopted = await self.adopt(task_key, idempotency_key)
            if adopted is not None:
                return adopted
        return None

    def is_running(self, task_key: str, idempotency_key: str) -> bool:
        """Whether an execution of `task_key` with that idempotency key is there to adopt."""
        return any(one.idempotency_key == idempotency_key for one in self._running.get(task_key, []))

    def kill(self, task_key: str) -> bool:
        """Request that every execution of `task_key` be killed; False if none runs."""
        running = self._running.get(task_key, [])
        for one in running:
            one.kill_asked.set()
        return bool(running)

    async def drain(self) -> None:
        """Request that all executions be killed and wait until each has ended."""
        for task_key in list(self._running):
            self.kill(task_key)
        outcomes = [one.outcome for all_of_key in self._running.values() for one in all_of_key]
        await asyncio.gather(*map(asyncio.shield, outcomes))

    def _leave(self, task_key: str, running: Running) -> None:
        others = self._running[task_key]
        others.remove(running)
        if not others:
            del self._running[task_key]
        if not running.outcome.done():
            running.outcome.set_result(None)
