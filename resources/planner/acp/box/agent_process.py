"""A started agent: its pipes as streams, the watch on its memory and its files, and its end."""

import asyncio
import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resources.sandbox.local.isolation.disk_limit import used_bytes
from resources.sandbox.local.isolation.file_tree import TreeTooLarge
from resources.sandbox.local.isolation.memory_limit import hidden_mb, used_mb
from resources.sandbox.local.isolation.process_tree import Process, kill_marked
from resources.sandbox.local.pipe_reader import Lines, read_pipe
from resources.sandbox.local.spawn_client import Pipes, Spawner

_STDERR_KEPT = 16 * 1024
_LIMIT = 8 * 1024 * 1024
_ROUND_SECONDS = 0.05
_GENTLE_ROUNDS = 20
_KILL_ROUNDS = 200
_MEMORY_SECONDS = 0.5
_DISK_SECONDS = 0.5
_LONGEST_DISK_PAUSE_S = 10.0
_MOST_FILES = 500_000
_MIB = 1024 * 1024


@dataclass(frozen=True)
class AgentBounds:
    """Most memory of an agent with its commands and of its folder, in MiB."""

    memory_mb: int
    disk_mb: int
    folder: Path


class AgentProcess:
    """An agent in its sandbox. `ended` is set when no process of the sandbox is left."""

    def __init__(self, pipes: Pipes, spawner: Spawner, mark: str, bounds: AgentBounds) -> None:
        self._pipes = pipes
        self._spawner = spawner
        self._mark = mark
        self._bounds = bounds
        self._outer: Process | None = None
        self._init: Process | None = None
        self._stderr = b""
        self._tasks: list[asyncio.Task[None]] = []
        self.ended = asyncio.Event()
        self.exit_code: int | None = None
        self.problem = ""
        self.peak_mb = 0
        self.is_out_of_memory = False
        self.is_out_of_disk = False

    async def connect(self, stdin: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The streams from and to the agent; starts reading what else it writes. Takes over `stdin`."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_LIMIT)
        await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(self._pipes.stdout, "rb", buffering=0)
        )
        transport, protocol = await loop.connect_write_pipe(
            asyncio.streams.FlowControlMixin, os.fdopen(stdin, "wb", buffering=0)
        )
        writer = asyncio.StreamWriter(transport, protocol, None, loop)
        self._tasks = [
            asyncio.create_task(read_pipe(self._pipes.stderr, self._keep)),
            asyncio.create_task(self._read_status()),
            asyncio.create_task(self._watch_memory()),
            asyncio.create_task(self._watch_disk()),
        ]
        return reader, writer

    @property
    def stderr(self) -> str:
        """The end of what the agent wrote to its stderr."""
        return self._stderr.decode(errors="replace")

    async def end(self) -> None:
        """Kill every process of the sandbox and wait until none is left. Idempotent."""
        for number in range(_KILL_ROUNDS):
            if self.ended.is_set():
                break
            if self._init is not None:
                # The first process inside; all others end with it, and bwrap ends once the sandbox is empty.
                self._init.kill()
            if number >= _GENTLE_ROUNDS or not self._spawner.is_running:
                kill_marked(self._mark)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.ended.wait(), _ROUND_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for process in (self._init, self._outer):
            if process is not None:
                process.close()
        self._init = self._outer = None

    async def _read_status(self) -> None:
        await read_pipe(self._pipes.status, Lines(self._on_status).feed)
        self.ended.set()

    def _on_status(self, line: dict[str, Any]) -> None:
        if "outer-pid" in line:
            self._outer = Process.open(line["outer-pid"], parent=self._spawner.process.pid)
        elif "child-pid" in line and self._outer is not None:
            self._init = Process.open(line["child-pid"], parent=self._outer.pid)
        elif "exit-code" in line:
            self.exit_code = line["exit-code"]
        elif "spawn-error" in line:
            self.problem = line["spawn-error"]

    def _keep(self, data: bytes) -> None:
        self._stderr = (self._stderr + data)[-_STDERR_KEPT:]

    async def _watch_memory(self) -> None:
        while True:
            await asyncio.sleep(_MEMORY_SECONDS)
            if self._init is None:
                continue
            used = await asyncio.to_thread(_memory_mb, self._init.pid, self._bounds.memory_mb)
            self.peak_mb = max(self.peak_mb, used)
            if used > self._bounds.memory_mb and self._init is not None:
                self.is_out_of_memory = True
                self._init.kill()

    async def _watch_disk(self) -> None:
        pause = _DISK_SECONDS
        while True:
            await asyncio.sleep(pause)
            if self._init is None:
                continue
            began = time.monotonic()
            if await asyncio.to_thread(self._is_disk_exceeded, self._init.pid) and self._init is not None:
                self.is_out_of_disk = True
                self._init.kill()
            # A large folder takes long to look through: spend at most a tenth of the time on it.
            pause = max(_DISK_SECONDS, min(9 * (time.monotonic() - began), _LONGEST_DISK_PAUSE_S))

    def _is_disk_exceeded(self, init: int) -> bool:
        try:
            return used_bytes(self._bounds.folder, init, _MOST_FILES) > self._bounds.disk_mb * _MIB
        except (TreeTooLarge, OSError):
            return True


def _memory_mb(init: int, limit_mb: int) -> int:
    """Memory of a sandbox in MiB: what its processes show, or what they hide in page tables and shared mappings."""
    return max(used_mb(init, limit_mb), hidden_mb(init))
