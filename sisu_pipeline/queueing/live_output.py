"""What running tasks say, to Postgres while they run; a task that ends at once costs a timer and no write."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from resources.sandbox.sandbox_port import Chunk, ChunkSink
from sisu_pipeline.steps.execute import Task
from sisu_pipeline.store.task_output import Piece

QUIET_S = 0.2
"""A task that ends within this time is not live: its result says it all, and soon."""

MOST_BYTES = 64 * 1024
"""Of one task; the rest is in its result."""

_BETWEEN_WRITES_S = 0.1
_log = logging.getLogger(__name__)


class LiveOutput:
    """Many tasks' output in one write at a time. Belongs to one event loop.

    `write` is called in a thread. Live output is a courtesy: a write that fails is logged and forgotten.
    """

    def __init__(self, write: Callable[[list[Piece]], None]) -> None:
        self._write = write
        self._pending: list[Piece] = []
        self._writer: asyncio.Task[None] | None = None

    @contextmanager
    def of_task(self, run_id: str, task: Task) -> Iterator[ChunkSink]:
        """A sink for one task's output, while the block lasts."""
        stream = _Stream(self, run_id, task)
        timer = asyncio.get_running_loop().call_later(QUIET_S, stream.go_live)
        try:
            yield stream.feed
        finally:
            timer.cancel()

    def tell(self, piece: Piece) -> None:
        """Write it soon, with whatever else is said by then."""
        self._pending.append(piece)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._keep_writing())

    async def drain(self) -> None:
        """Return when everything told so far is written."""
        if self._writer is not None:
            await self._writer

    async def _keep_writing(self) -> None:
        while self._pending:
            pieces, self._pending = self._pending, []
            try:
                await asyncio.to_thread(self._write, pieces)
            except Exception:
                _log.warning("live output of %d pieces could not be written", len(pieces), exc_info=True)
            await asyncio.sleep(_BETWEEN_WRITES_S)


class _Stream:
    """One task's output: held back until the task is live, then told as it comes."""

    def __init__(self, output: LiveOutput, run_id: str, task: Task) -> None:
        self._output = output
        self._run_id = run_id
        self._task = task
        self._held: list[Chunk] = []
        self._bytes = 0
        self._is_live = False

    def feed(self, chunk: Chunk) -> None:
        if self._bytes >= MOST_BYTES:
            return
        self._bytes += len(chunk.chunk.encode())
        if self._is_live:
            self._tell(chunk)
        else:
            self._held.append(chunk)

    def go_live(self) -> None:
        self._is_live = True
        for chunk in self._held:
            self._tell(chunk)
        self._held.clear()

    def _tell(self, chunk: Chunk) -> None:
        text = chunk.chunk[:MOST_BYTES]
        self._output.tell(Piece(self._run_id, self._task.key, self._task.position, chunk.kind, text))
