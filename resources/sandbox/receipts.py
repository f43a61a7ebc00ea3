"""Receipts: how the mock provider remembers what it executed, so that nothing runs twice unseen."""

import asyncio
from dataclasses import dataclass, replace
from typing import Protocol


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
    """What is known about a task after `start`.

    `executes` says whether this request is a new execution (else it adopts the one that is there);
    `elapsed_ms` is how long that execution has been running by the clock that keeps the receipts.
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
    """Keeps one receipt per task key."""

    async def start(self, receipt: Receipt) -> ReceiptState:
        """Count a request and, unless its idempotency key has an execution already, the execution.

        Raises ReceiptsUnavailable when nothing could be written.
        """


class MemoryReceipts:
    """Receipts of one process, with the rules of `sql/queries/receipts.sql`. For tests and try-outs."""

    def __init__(self) -> None:
        self._states: dict[str, tuple[Receipt, ReceiptState, float]] = {}

    async def start(self, receipt: Receipt) -> ReceiptState:
        """See `Receipts.start`."""
        now = asyncio.get_running_loop().time()
        known = self._states.get(receipt.key)
        if known is None:
            state = ReceiptState(True, 1, 1, receipt.payload_hash, receipt.duration_ms, 0)
            self._states[receipt.key] = (receipt, state, now)
            return state
        kept, state, started = known
        executes = receipt.idempotency_key is None or receipt.idempotency_key != kept.idempotency_key
        if executes:
            kept, started = receipt, now
        state = ReceiptState(
            executes,
            state.seen_count + executes,
            state.request_count + 1,
            kept.payload_hash,
            kept.duration_ms,
            int((now - started) * 1000),
        )
        self._states[receipt.key] = (kept, replace(state, executes=False, elapsed_ms=0), started)
        return state

    def seen_count(self, key: str) -> int:
        """How often `key` was executed."""
        known = self._states.get(key)
        return known[1].seen_count if known else 0
