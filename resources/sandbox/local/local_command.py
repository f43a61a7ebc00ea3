"""Supervision of one started sandbox until all its processes have ended."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from resources.sandbox.local.isolation.disk_limit import used_bytes
from resources.sandbox.local.isolation.file_tree import MOST_ENTRIES, TreeTooLarge
from resources.sandbox.local.isolation.memory_limit import hidden_mb, used_mb
from resources.sandbox.local.isolation.process_tree import Process, kill_marked
from resources.sandbox.local.pipe_reader import Lines, read_pipe
from resources.sandbox.local.spawn_client import Pipes, Spawner
from resources.sandbox.output_capture import Kind, Output

T = TypeVar("T")

Reason = Literal["boot", "spawner", "timeout", "memory", "disk", "request"]
"""Why a sandbox was killed: it did not start, lost its spawner, exceeded a limit, or a kill was requested."""

_BOOT_SECONDS = 30
_ROUND_SECONDS = 0.05
_GENTLE_ROUNDS = 20
_KILL_ROUNDS = 200
_MEMORY_SECONDS = 0.05
_HIDDEN_ROUNDS = 5
_LONGEST_DISK_PAUSE_S = 1.0
_DISK_SECONDS = 0.25
_CLOSE_DISK_SECONDS = 0.05
_SPAWNER_SECONDS = 0.25


@dataclass(frozen=True)
class Bounds:
    """Limits of the command: wall time from its start, MiB of memory, bytes of disk and files per folder.

    What `work` and, where the command has one, `home` hold counts together.
    """

    timeout_ms: int
    memory_mb: int
    disk_bytes: int
    work: Path
    most_files: int = MOST_ENTRIES
    home: Path | None = None


@dataclass(frozen=True)
class CommandEnd:
    """The end of a command. `exit_code` None: it never ran or was killed; `problem` is then the spawner's error."""

    exit_code: int | None
    reason: Reason | None
    boot_ms: int
    wall_ms: int
    cpu_ms: int
    peak_mb: int
    problem: str


class Execution:
    """Reads the pipes of one sandbox and kills it when it exceeds a limit. Belongs to one event loop."""

    def __init__(self, pipes: Pipes, output: Output, spawner: Spawner, mark: str) -> None:
        self._pipes = pipes
        self._output = output
        self._spawner = spawner
        self._mark = mark
        self._outer: Process | None = None
        self._init: Process | None = None
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._exit_code: int | None = None
        self._reaped: dict[str, int] = {}
        self._problem = ""
        self._peak_mb = 0

    async def supervise(self, bounds: Bounds, kill_asked: asyncio.Event) -> CommandEnd:
        """Wait for the end of the sandbox, or kill it at a limit. When canceled, kills it and waits for its end."""
        began = time.monotonic()
        over = asyncio.create_task(self._over())
        try:
            reason = await self._until_started(over, kill_asked)
            started = time.monotonic()
            if reason is None:
                reason = await self._until_over(over, bounds, kill_asked)
        finally:
            await _uninterrupted(self._end(over))
        ended = time.monotonic()
        # It may have exceeded a limit between two checks.
        if reason is None and await _disk_used(bounds, init=None) > bounds.disk_bytes:
            reason = "disk"
        return CommandEnd(
            exit_code=self._exit_code,
            reason=reason,
            boot_ms=round((started - began) * 1000),
            wall_ms=round((ended - started) * 1000),
            cpu_ms=self._reaped.get("cpuMs", 0),
            peak_mb=max(self._peak_mb, -(-self._reaped.get("peakKb", 0) // 1024)),
            problem=self._problem,
        )

    async def _until_started(self, over: asyncio.Task[None], kill_asked: asyncio.Event) -> Reason | None:
        asked = asyncio.create_task(kill_asked.wait())
        lost = asyncio.create_task(self._watch_spawner())
        events: set[asyncio.Future[Any]] = {over, asked, lost, self._started}
        try:
            await asyncio.wait(events, timeout=_BOOT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
            lost.cancel()
        if kill_asked.is_set():
            return "request"
        return None if over.done() or self._started.done() else "boot"

    async def _until_over(
        self, over: asyncio.Task[None], bounds: Bounds, kill_asked: asyncio.Event
    ) -> Reason | None:
        watchers = {
            asyncio.create_task(_after(kill_asked.wait(), "request")),
            asyncio.create_task(self._watch_memory(bounds.memory_mb)),
            asyncio.create_task(self._watch_spawner()),
            asyncio.create_task(self._watch_disk(bounds)),
        }
        try:
            done, _ = await asyncio.wait(
                {over, *watchers},
                timeout=bounds.timeout_ms / 1000,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            for watcher in watchers:
                watcher.cancel()
        if over.done():
            return None
        return next((watcher.result() for watcher in watchers & done), "timeout")

    async def _watch_memory(self, limit_mb: int) -> Reason:
        hidden, rounds = 0, 0
        while self._peak_mb <= limit_mb:
            await asyncio.sleep(_MEMORY_SECONDS)
            if self._init is None:
                continue
            # Memory that no process's size shows takes longer to count: every fifth time.
            if rounds % _HIDDEN_ROUNDS == 0:
                hidden = await asyncio.to_thread(hidden_mb, self._init.pid)
            rounds += 1
            self._peak_mb = max(self._peak_mb, used_mb(self._init.pid, limit_mb), hidden)
        return "memory"

    async def _watch_disk(self, bounds: Bounds) -> Reason:
        used = 0
        pause = _DISK_SECONDS
        while used <= bounds.disk_bytes:
            await asyncio.sleep(pause)
            began = time.monotonic()
            used = await _disk_used(bounds, None if self._init is None else self._init.pid)
            # A large folder takes long to look through: spend at most a tenth of the time on it, but look often
            # enough that slowing the watch down gains little.
            pause = _CLOSE_DISK_SECONDS if used > bounds.disk_bytes / 4 else _DISK_SECONDS
            pause = max(pause, min(9 * (time.monotonic() - began), _LONGEST_DISK_PAUSE_S))
        return "disk"

    async def _watch_spawner(self) -> Reason:
        """Without the spawner no status arrives, and the kernel may not have killed all processes."""
        while self._spawner.is_running:
            await asyncio.sleep(_SPAWNER_SECONDS)
        return "spawner"

    async def _over(self) -> None:
        """Wait until all pipes are closed; the status pipe closes when no process of the sandbox is left."""
        await asyncio.gather(
            read_pipe(self._pipes.stdout, self._feeder("stdout")),
            read_pipe(self._pipes.stderr, self._feeder("stderr")),
            read_pipe(self._pipes.status, Lines(self._on_status).feed),
        )
        self._output.finish("stdout")
        self._output.finish("stderr")

    async def _end(self, over: asyncio.Task[None]) -> None:
        """Kill remaining processes, wait for their end, and close all descriptors."""
        for round_number in range(_KILL_ROUNDS):
            if over.done():
                break
            self._kill(round_number >= _GENTLE_ROUNDS or not self._spawner.is_running)
            await asyncio.wait({over}, timeout=_ROUND_SECONDS)
        else:
            self._problem = "its processes could not be killed"
            over.cancel()
        for process in (self._init, self._outer):
            if process is not None:
                process.close()
        await asyncio.wait({over})
        if not over.cancelled():
            over.result()

    def _kill(self, everything: bool) -> None:
        """Kill the first process inside, and all others with it; bwrap then still reports what they used."""
        if self._init is not None:
            self._init.kill()
        if everything:
            # By name: no one may know the pid of a sandbox that lost its spawner during its start.
            kill_marked(self._mark)

    def _feeder(self, kind: Kind) -> Callable[[bytes], None]:
        return lambda data: self._output.feed(kind, data)

    def _on_status(self, line: dict[str, Any]) -> None:
        if "outer-pid" in line:
            self._outer = Process.open(line["outer-pid"], parent=self._spawner.process.pid)
        elif "child-pid" in line and self._outer is not None:
            self._init = Process.open(line["child-pid"], parent=self._outer.pid)
            self._started.set_result(None)
        elif "exit-code" in line:
            self._exit_code = line["exit-code"]
        elif "reaped" in line:
            self._reaped = line["reaped"]
        elif "spawn-error" in line:
            self._problem = line["spawn-error"]


async def _after(event: Awaitable[Any], reason: Reason) -> Reason:
    await event
    return reason


async def _disk_used(bounds: Bounds, init: int | None) -> int:
    """Bytes used; more than the limit if they could not be counted."""
    try:
        used = await asyncio.to_thread(used_bytes, bounds.work, init, bounds.most_files)
        if bounds.home is not None:
            used += await asyncio.to_thread(used_bytes, bounds.home, None, bounds.most_files)
        return used
    except (TreeTooLarge, OSError):
        return bounds.disk_bytes + 1


async def _uninterrupted(work: Coroutine[Any, Any, None]) -> None:
    """Finish `work` even if canceled meanwhile; the cancellation continues afterwards."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


async def in_thread(work: Callable[[], T]) -> T:
    """Run blocking `work`; when canceled, wait for its end before the cancellation continues."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
