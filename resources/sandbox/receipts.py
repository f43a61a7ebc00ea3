"""Receipts of the mock provider, by which repeated executions are detected."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from psycopg import AsyncConnection, DataError, IntegrityError
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool

from sql import query

_MOST_PER_STATEMENT = 500


class ReceiptsUnavailable(Exception):
    """The receipt could not be written; nothing was executed."""


@dataclass(frozen=True)
class Receipt:
    """A request to execute: `key` is the task key, `payload_hash` the sha256 of the request, times in ms."""

    key: str
    run_id: str
    step_id: str
    payload_hash: str
    idempotency_key: str | None
    attempt: int
    duration_ms: int


@dataclass(frozen=True)
class ReceiptState:
    """The state of a task after `start`.

    `executes`: whether this request is a new execution or adopts an existing one. `elapsed_ms`: how long that
    execution has been running, by the clock of the receipts.
    """

    executes: bool
    seen_count: int
    request_count: int
    payload_hash: str
    duration_ms: int
    elapsed_ms: int

    @property
    def remaining_ms(self) -> int:
        return max(0, self.duration_ms - self.elapsed_ms)


class Receipts(Protocol):
    """Storage of one receipt per task key."""

    async def start(self, receipt: Receipt) -> ReceiptState:
        """Count a request and, unless its idempotency key already has an execution, an execution.

        Raises ReceiptsUnavailable if the receipt could not be written.
        """


class PostgresReceipts:
    """Receipts in `app.mock_receipts` (`sql/queries/receipts.sql`), thousands per second on one connection.

    Requests that arrive while a statement runs wait together and share the next one: under load the batch
    grows, at rest a request goes out at once, and no timer is involved. One instance, one event loop.
    """

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection[Any]]) -> None:
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
            except (DataError, IntegrityError):
                # One bad receipt (of a run that does not exist) must not fail those that shared its statement.
                for waiting in batch:
                    await self._answer_alone(waiting)
            except Exception as error:
                for waiting in batch:
                    waiting.fail(error)

    async def _answer_alone(self, waiting: "_Waiting") -> None:
        try:
            await self._answer([waiting])
        except Exception as error:
            waiting.fail(error)

    async def _answer(self, batch: list["_Waiting"]) -> None:
        async with self._pool.connection() as connection:
            cursor = connection.cursor(row_factory=tuple_row)
            await cursor.execute(query("receipts.start"), _columns(batch))
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
    """The requests for the next statement, in key order, and the remaining ones.

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
