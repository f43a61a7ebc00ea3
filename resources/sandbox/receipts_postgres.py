"""Receipts in `app.mock_receipts`, many per statement (see `sql/queries/receipts.sql`)."""

import asyncio
from collections.abc import Iterable
from typing import Any

from psycopg import AsyncConnection, Error
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from resources.sandbox.receipts import Receipt, ReceiptState, ReceiptsUnavailable
from sql import query

_MOST_PER_STATEMENT = 500


class PostgresReceipts:
    """Receipts that survive the process, at thousands per second on one connection.

    Requests that arrive while a statement runs wait together and share the next one: under load the batch
    grows, at rest a request goes out at once, and no timer is involved. One instance, one event loop.
    """

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection[TupleRow]]) -> None:
        self._pool = pool
        self._waiting: list[_Waiting] = []
        self._flusher: asyncio.Task[None] | None = None

    async def start(self, receipt: Receipt) -> ReceiptState:
        """See `Receipts.start`."""
        waiting = _Waiting(receipt)
        self._waiting.append(waiting)
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        return await waiting.answer

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = _next_batch(self._waiting)
            try:
                await self._answer(batch)
            except (Error, PoolTimeout, PoolClosed) as error:
                await self._answer_one_by_one(batch, error)

    async def _answer_one_by_one(self, batch: list["_Waiting"], error: Exception) -> None:
        """One bad receipt (a run that does not exist) must not fail those that shared its statement."""
        if len(batch) == 1:
            batch[0].fail(error)
            return
        for waiting in batch:
            try:
                await self._answer([waiting])
            except (Error, PoolTimeout, PoolClosed) as own_error:
                waiting.fail(own_error)

    async def _answer(self, batch: list["_Waiting"]) -> None:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(query("receipts.start"), _columns(batch))
            rows = {row[0]: ReceiptState(*row[1:]) for row in await cursor.fetchall()}
        for waiting in batch:
            waiting.succeed(rows[waiting.receipt.key])


class _Waiting:
    """One caller of `start` and the answer it waits for; the caller may have gone (cancelled) by then."""

    def __init__(self, receipt: Receipt) -> None:
        self.receipt = receipt
        self.answer: asyncio.Future[ReceiptState] = asyncio.get_running_loop().create_future()

    def succeed(self, state: ReceiptState) -> None:
        if not self.answer.done():
            self.answer.set_result(state)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(ReceiptsUnavailable(f"the receipt could not be written: {error}"))


def _next_batch(waiting: list[_Waiting]) -> tuple[list[_Waiting], list[_Waiting]]:
    """What the next statement takes, in key order, and what stays.

    A statement may touch a row once, so the second request for a key waits; the order keeps two processes
    that share keys from locking rows against each other.
    """
    taken: dict[str, _Waiting] = {}
    rest: list[_Waiting] = []
    for one in waiting:
        if len(taken) < _MOST_PER_STATEMENT and one.receipt.key not in taken:
            taken[one.receipt.key] = one
        else:
            rest.append(one)
    return [taken[key] for key in sorted(taken)], rest


def _columns(batch: Iterable[_Waiting]) -> dict[str, list[Any]]:
    receipts = [waiting.receipt for waiting in batch]
    return {
        "receipt_key": [receipt.key for receipt in receipts],
        "run_id": [receipt.run_id for receipt in receipts],
        "step_id": [receipt.step_id for receipt in receipts],
        "payload_hash": [receipt.payload_hash for receipt in receipts],
        "idempotency_key": [receipt.idempotency_key for receipt in receipts],
        "attempt": [receipt.attempt for receipt in receipts],
        "duration_ms": [receipt.duration_ms for receipt in receipts],
    }
