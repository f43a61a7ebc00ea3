"""Sandboxes of the test server: a temporary folder and plain processes in it."""

import asyncio
import base64
import os
import shutil
import signal
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.e2b.http import Dropped

HOME = "/home/user"


class Command:
    """A process, everything it said so far, and who listens."""

    def __init__(self, process: asyncio.subprocess.Process, config: dict[str, Any]) -> None:
        self.process = process
        self.config = config
        self.end: dict[str, Any] | None = None
        self._listeners: set[asyncio.Queue[dict[str, Any] | None]] = set()
        self._task = asyncio.create_task(self._pump())

    async def _pump(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        await asyncio.gather(self._read("stdout", self.process.stdout), self._read("stderr", self.process.stderr))
        code = await self.process.wait()
        if code >= 0:
            self.end = {"exitCode": code, "exited": True, "status": f"exit status {code}"}
        else:
            self.end = {"exitCode": -1, "exited": False, "status": "signal: killed", "error": "signal: killed"}
        self._tell({"end": self.end})

    async def _read(self, name: str, stream: asyncio.StreamReader) -> None:
        while data := await stream.read(1 << 16):
            self._tell({"data": {name: base64.b64encode(data).decode()}})

    def _tell(self, event: dict[str, Any] | None) -> None:
        for listener in self._listeners:
            listener.put_nowait(event)

    async def events(self, timeout_s: float | None) -> AsyncIterator[dict[str, Any]]:
        """From now on: start, data, end. Ends without an end event when the sandbox is gone.

        Raises TimeoutError when the deadline passes, and kills the command, as envd does.
        """
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            yield {"start": {"pid": self.process.pid}}
            if self.end is not None:
                yield {"end": self.end}
                return
            deadline = None if timeout_s is None else time.monotonic() + timeout_s
            while True:
                left = None if deadline is None else deadline - time.monotonic()
                try:
                    event = await asyncio.wait_for(queue.get(), left)
                except TimeoutError:
                    self.kill()
                    raise
                if event is None:
                    raise Dropped
                yield event
                if "end" in event:
                    return
        finally:
            self._listeners.discard(queue)

    def kill(self) -> None:
        """The process alone, as envd does."""
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)

    async def close(self, *, silently: bool) -> None:
        """Kill it and, unless silently, cut off who listens."""
        listeners, self._listeners = self._listeners, set()
        # A process may be forked while we look: again until nobody holds the pipes.
        gone = asyncio.ensure_future(self.process.wait())
        while not gone.done():
            _kill_session(self.process.pid)
            await asyncio.wait({gone}, timeout=0.05)
        self._task.cancel()
        if not silently:
            for listener in listeners:
                listener.put_nowait(None)


class Box:
    """One sandbox."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.id = "i" + uuid.uuid4().hex[:19]
        self.template = body["templateID"]
        self.metadata: dict[str, str] = body.get("metadata") or {}
        self.internet = body.get("allow_internet_access")
        self.started = datetime.now(UTC)
        self.ends = self.started + timedelta(seconds=body.get("timeout", 15))
        self.root = Path(tempfile.mkdtemp(prefix="sisu-e2b-"))
        self.commands: dict[int, Command] = {}

    def resolve(self, path: str) -> Path:
        """A path inside as one outside: home is the folder, and so is what is relative."""
        return self.root / path.removeprefix(HOME).lstrip("/")

    def describe(self) -> dict[str, Any]:
        """As the control API shows it."""
        return {
            "templateID": self.template,
            "sandboxID": self.id,
            "clientID": "test",
            "envdVersion": "0.6.7",
            "startedAt": self.started.isoformat(),
            "endAt": self.ends.isoformat(),
            "cpuCount": 2,
            "memoryMB": 512,
            "diskSizeMB": 1024,
            "state": "running",
            "metadata": self.metadata,
        }

    def created(self) -> dict[str, Any]:
        """As create and connect answer."""
        return {
            "templateID": self.template,
            "sandboxID": self.id,
            "clientID": "test",
            "envdVersion": "0.6.7",
            "envdAccessToken": f"token-{self.id}",
            "domain": None,
        }

    async def start(self, process: dict[str, Any]) -> Command:
        """Run a command, as envd does: with home as HOME, in its own session."""
        environment = {"HOME": str(self.root), "USER": "user", "PATH": os.defpath, **process.get("envs", {})}
        started = await asyncio.create_subprocess_exec(
            process["cmd"],
            *process.get("args", []),
            cwd=self.resolve(process.get("cwd") or HOME),
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        command = self.commands[started.pid] = Command(started, process)
        return command

    async def remove(self, *, silently: bool = False) -> None:
        """Kill everything and remove the folder."""
        await asyncio.gather(*(command.close(silently=silently) for command in self.commands.values()))
        await asyncio.to_thread(shutil.rmtree, self.root, True)


def _kill_session(leader: int) -> None:
    """Everything a command started and that stayed in its session, as the end of a machine would."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            session = int((entry / "stat").read_text().rpartition(")")[2].split()[3])
            if session == leader:
                os.kill(int(entry.name), signal.SIGKILL)
