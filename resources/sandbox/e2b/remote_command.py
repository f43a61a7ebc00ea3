"""One command in one sandbox, from start to end, across lost connections."""

import asyncio
import time
from typing import Any

from e2b import AsyncSandbox, CommandExitException, FileNotFoundException

from resources.sandbox.e2b import runner_script
from resources.sandbox.e2b.provider_errors import Cause, Failed, Phase, cause_of
from resources.sandbox.e2b.provider_retry import PAUSES_S, persist, raise_if_cancelled
from resources.sandbox.e2b.runner_script import CommandEnd
from resources.sandbox.output_capture import MOST_BYTES, Kind, Output

_START_S = 30.0
# envd's own deadline. Ours is shorter, and distinguishes a slow command from a slow connection.
_GRACE_S = 60.0


class OutOfTime(Exception):
    """The command exceeded its time limit."""


class Execution:
    """The execution of a command in one sandbox; `streams` counts connections to its output."""

    def __init__(self, sandbox: AsyncSandbox, output: Output, timeout_ms: int, check_s: float) -> None:
        self._sandbox = sandbox
        self._output = output
        self._timeout_s = timeout_ms / 1000
        self._check_s = check_s
        self._deadline: float | None = None
        self._missed = False
        self._is_placed = False
        self.began_at = time.monotonic()
        self.streams = 0

    async def run(self, package: bytes, *, is_new: bool) -> CommandEnd:
        """Start the command, or connect to it if it runs already. Raises Failed and OutOfTime."""
        self._missed = not is_new
        seen = None if is_new else await self._look()
        # Each round either reaches the end or loses the stream. Repeated losses are not accidental.
        for pause in (*PAUSES_S, None):
            if isinstance(seen, CommandEnd):
                return seen
            handle = await self._start(package) if seen is None else await self._rejoin(seen)
            if handle is not None:
                await self._follow(handle)
            seen = await self._look()
            if isinstance(seen, CommandEnd):
                return seen
            if pause is not None:
                await asyncio.sleep(pause)
        raise Failed(Phase.COMMAND, Cause.UNKNOWN, "the connection to the command was lost too often")

    async def _look(self) -> CommandEnd | int | None:
        """The end of the command, or the script's process while it runs, or None if it was never started."""
        ending = await self._ending()
        if ending is not None:
            return ending
        pid = await self._pid()
        if pid is None or await self._is_running(pid):
            return pid
        ending = await self._ending()  # it may have ended between the two checks
        if ending is None:
            raise Failed(Phase.COMMAND, Cause.BROKEN, "what supervises the command was killed")
        return ending

    async def _start(self, package: bytes) -> Any:
        files, commands = self._sandbox.files, self._sandbox.commands
        if not self._is_placed:
            await persist(lambda: files.write(runner_script.PACKAGE, package, use_octet_stream=True), Phase.UPLOAD)
            self._is_placed = True
        self.began_at = time.monotonic()
        self._deadline = self.began_at + self._timeout_s
        try:
            handle = await commands.run(
                runner_script.START,
                background=True,
                timeout=self._timeout_s + _GRACE_S,
                request_timeout=_START_S,
                on_stdout=lambda text: self._output.feed("stdout", text.encode()),
                on_stderr=lambda text: self._output.feed("stderr", text.encode()),
                retain_output=False,
            )
        except Exception as error:
            # It may have been started: the next check finds out.
            self._lost(error)
            return None
        self.streams += 1
        return handle

    async def _rejoin(self, pid: int) -> Any:
        """Its stream from now on; missed output is read from the files at the end."""
        self._missed = True
        if self._deadline is None:
            self._deadline = time.monotonic() + self._timeout_s - await self._elapsed_s()
        try:
            handle = await self._sandbox.commands.connect(
                pid, timeout=self._timeout_s + _GRACE_S, request_timeout=_START_S, retain_output=False
            )
        except Exception as error:
            if cause_of(error) is not Cause.REFUSED:  # it has just ended: the process does not exist
                self._lost(error)
            return None
        self.streams += 1
        return handle

    async def _follow(self, handle: Any) -> None:
        """Read until the command or its stream ends. Raises OutOfTime, and Failed if the sandbox is gone."""
        assert self._deadline is not None
        ended = asyncio.ensure_future(handle.wait())
        watched = asyncio.ensure_future(self._watch())
        try:
            done, _ = await asyncio.wait(
                {ended, watched},
                timeout=max(0.0, self._deadline - time.monotonic()),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            watched.cancel()
            if not ended.done():
                await handle.disconnect()
                ended.cancel()
            await asyncio.wait({ended, watched})
        if not done:
            raise OutOfTime
        try:
            (watched if watched in done else ended).result()
        except CommandExitException as ended_with:
            # Another start came first: this stream lacks the output of that one.
            self._missed |= ended_with.exit_code == runner_script.TAKEN_EXIT
        except Failed:
            raise
        except Exception as error:
            self._lost(error)

    async def _watch(self) -> None:
        """Return when the command has ended although its stream has not. Raises Failed if the sandbox is gone."""
        seen_ended = False
        unanswered = 0
        while not (seen_ended or unanswered > len(PAUSES_S)):
            await asyncio.sleep(self._check_s)
            try:
                await self._sandbox.files.read(runner_script.END, format="bytes", request_timeout=self._check_s + 1)
                seen_ended = True
            except FileNotFoundException:
                unanswered = 0
            except Exception as error:
                raise_if_cancelled(error)
                unanswered += 1
                self._raise_if_gone(error)
        await asyncio.sleep(1)  # the stream may only be delayed
        self._missed = True

    async def _ending(self) -> CommandEnd | None:
        """The script's report; None until it is written."""
        try:
            content = await persist(
                lambda: self._sandbox.files.read(runner_script.END, format="bytes"), Phase.COMMAND
            )
        except FileNotFoundException:
            return None
        if self._missed:
            await self._complete_output()
        else:
            self._output.finish("stdout")
            self._output.finish("stderr")
        try:
            return runner_script.parse_end(bytes(content))
        except ValueError as error:
            raise Failed(Phase.COMMAND, Cause.BROKEN, f"its account cannot be read: {error}") from error

    async def _complete_output(self) -> None:
        for kind in ("stdout", "stderr"):
            self._output.complete(kind, await self._said(kind))
        self._missed = False

    async def _said(self, kind: Kind) -> bytes:
        async def read() -> bytes:
            data = bytearray()
            async for piece in await self._sandbox.files.read(runner_script.STREAMS[kind], format="stream"):
                data += piece
                if len(data) > MOST_BYTES:
                    break
            return bytes(data)

        return await persist(read, Phase.COMMAND)

    async def _pid(self) -> int | None:
        """The script's process; None if the command was never started."""
        try:
            content = await persist(lambda: self._sandbox.files.read(runner_script.PID), Phase.COMMAND)
        except FileNotFoundException:
            return None
        self._missed = True
        return int(content) if content.strip() else None

    async def _is_running(self, pid: int) -> bool:
        processes = await persist(self._sandbox.commands.list, Phase.COMMAND)
        return any(process.pid == pid for process in processes)

    async def _elapsed_s(self) -> float:
        elapsed = await persist(
            lambda: self._sandbox.commands.run(runner_script.ELAPSED, timeout=30), Phase.COMMAND
        )
        return int(elapsed.stdout) / 1000

    def _lost(self, error: Exception) -> None:
        """Handle a stream that ended before the command did: poll, unless the sandbox is gone."""
        raise_if_cancelled(error)
        self._missed = True
        self._raise_if_gone(error)

    def _raise_if_gone(self, error: Exception) -> None:
        cause = cause_of(error)
        if cause in (Cause.GONE, Cause.BROKEN, Cause.DENIED):
            raise Failed(Phase.COMMAND, cause, f"{type(error).__name__}: {error}") from error
