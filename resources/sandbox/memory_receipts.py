"""Receipts in the memory of one process, for tests."""

import asyncio
from dataclasses import replace

from resources.sandbox.receipts import Receipt, ReceiptState


class MemoryReceipts:
    """The rules of `sql/queries/receipts.sql` without a database."""

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
