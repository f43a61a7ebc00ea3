"""Group commit for an event loop: concurrent requests share one call."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from resources.failure_classification import kind_of
from sisu_pipeline.domain.failure_kind import FailureKind

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Group commit: items that arrive while a batch is handled become the next batch. It uses no timers.

    A batch that fails permanently is halved until the items that fail are alone: their neighbors succeed.
    """

    def __init__(self, handle: Callable[[list[Item]], Sequence[Result]], limit: int = 500) -> None:
        self._handle = handle
        self._limit = limit
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Result:
        """The handler's result for this item. Raises the handler's exception for this item or its batch."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._drain())
        return await future

    async def _drain(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
            await self._settle(batch)

    async def _settle(self, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await asyncio.to_thread(self._handle, [item for item, _ in batch])
        except BaseException as error:
            if len(batch) > 1 and isinstance(error, Exception) and kind_of(error) is FailureKind.PERMANENT:
                middle = len(batch) // 2
                await self._settle(batch[:middle])
                await self._settle(batch[middle:])
                return
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            if not isinstance(error, Exception):
                raise
        else:
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)
