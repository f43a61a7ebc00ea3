"""Output of running tasks, written to Postgres while they run. A short task costs a timer and no write."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from resources.sandbox.sandbox_port import Chunk, ChunkSink
from sisu_pipeline.steps.execute import Task
from sisu_pipeline.store.outputs.task_output import Piece

LIVE_AFTER_S = 0.2
"""The output of a task is written once the task has run this long. A shorter one has its result soon enough."""

MAX_BYTES = 64 * 1024
"""The live output of one task; all its output is in its result."""

_WRITE_INTERVAL_S = 0.1
_log = logging.getLogger(__name__)


class LiveOutput:
    """Writes the output of many tasks, one batch at a time. Belongs to one event loop.

    `write` is called in a thread. When it fails, the batch is logged and dropped: live output is not evidence.
    """

    def __init__(self, write: Callable[[list[Piece]], None]) -> None:
        self._write = write
        self._pending: list[Piece] = []
        self._writer: asyncio.Task[None] | None = None

    @contextmanager
    def of_task(self, run_id: str, task: Task) -> Iterator[ChunkSink]:
        """A sink for one task's output, valid inside the block."""
        stream = _Stream(self, run_id, task)
        timer = asyncio.get_running_loop().call_later(LIVE_AFTER_S, stream.go_live)
        try:
            yield stream.feed
        finally:
            timer.cancel()

    def add(self, piece: Piece) -> None:
        """Write a piece soon, together with others that arrive meanwhile."""
        self._pending.append(piece)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._keep_writing())

    async def drain(self) -> None:
        """Wait until every piece added so far is written."""
        if self._writer is not None:
            await self._writer

    async def _keep_writing(self) -> None:
        while self._pending:
            pieces, self._pending = self._pending, []
            try:
                await asyncio.to_thread(self._write, pieces)
            except Exception:
                _log.warning("live output of %d pieces could not be written", len(pieces), exc_info=True)
            await asyncio.sleep(_WRITE_INTERVAL_S)


class _Stream:
    """One task's output: held back at first, then passed on as it arrives."""

    def __init__(self, output: LiveOutput, run_id: str, task: Task) -> None:
        self._output = output
        self._run_id = run_id
        self._task = task
        self._held: list[Chunk] = []
        self._bytes = 0
        self._is_live = False

    def feed(self, chunk: Chunk) -> None:
        if self._bytes >= MAX_BYTES:
            return
        self._bytes += len(chunk.chunk.encode())
        if self._is_live:
            self._pass_on(chunk)
        else:
            self._held.append(chunk)

    def go_live(self) -> None:
        self._is_live = True
        for chunk in self._held:
            self._pass_on(chunk)
        self._held.clear()

    def _pass_on(self, chunk: Chunk) -> None:
        text = chunk.chunk[:MAX_BYTES]
        self._output.add(Piece(self._run_id, self._task.key, self._task.position, chunk.kind, text))
