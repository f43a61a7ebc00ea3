"""Receipts in Postgres: the rules of the in-memory ones, for many requests at once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from psycopg_pool import AsyncConnectionPool

from resources.database import Database
from resources.sandbox.mock_provider import MockSandbox
from resources.sandbox.receipts import PostgresReceipts, Receipt, ReceiptState, ReceiptsUnavailable
from resources.sandbox.sandbox_port import TaskContext
from sisu_pipeline.contracts.sandbox_request import ErrorCode
from tests.builders import a_run
from tests.unit.sandbox.requests import TASK_KEY, a_request, ignore

T = TypeVar("T")


@pytest.fixture
def run_id(clean_database: Database) -> str:
    with clean_database.connect() as connection:
        return a_run(connection).id


def with_receipts(database: Database, story: Callable[[PostgresReceipts], Awaitable[T]]) -> T:
    async def run() -> T:
        async with AsyncConnectionPool(database.url, min_size=1, max_size=2, open=False) as pool:
            return await story(PostgresReceipts(pool))

    return asyncio.run(run())


def a_receipt(run_id: str, key: str = TASK_KEY, **fields: Any) -> Receipt:
    defaults = {"step_id": "ExecuteST", "payload_hash": "h", "idempotency_key": key, "attempt": 1, "duration_ms": 0}
    return Receipt(**{"key": key, "run_id": run_id, **defaults, **fields})


def test_many_at_once_are_each_counted_once(clean_database: Database, run_id: str) -> None:
    async def story(receipts: PostgresReceipts) -> list[ReceiptState]:
        return await asyncio.gather(*(receipts.start(a_receipt(run_id, f"k{n % 700}")) for n in range(1400)))

    states = with_receipts(clean_database, story)
    assert sum(state.executes for state in states) == 700
    with clean_database.connect() as connection:
        rows = connection.execute("SELECT seen_count, request_count FROM app.mock_receipts").fetchall()
    assert rows == [{"seen_count": 1, "request_count": 2}] * 700


def test_an_adopter_learns_duration_and_time_gone(clean_database: Database, run_id: str) -> None:
    async def story(receipts: PostgresReceipts) -> ReceiptState:
        await receipts.start(a_receipt(run_id, duration_ms=60_000, payload_hash="first"))
        await asyncio.sleep(0.1)
        return await receipts.start(a_receipt(run_id, duration_ms=1, payload_hash="second", attempt=2))

    state = with_receipts(clean_database, story)
    assert (state.executes, state.seen_count, state.request_count) == (False, 1, 2)
    assert (state.payload_hash, state.duration_ms) == ("first", 60_000)
    assert 100 <= state.elapsed_ms < 5_000
    with clean_database.connect() as connection:
        row = connection.execute("SELECT first_attempt, last_attempt FROM app.mock_receipts").fetchone()
    assert row == {"first_attempt": 1, "last_attempt": 2}


@pytest.mark.parametrize("again", [None, "another"])
def test_no_key_or_another_key_executes_again(clean_database: Database, run_id: str, again: str | None) -> None:
    async def story(receipts: PostgresReceipts) -> ReceiptState:
        await receipts.start(a_receipt(run_id))
        return await receipts.start(a_receipt(run_id, idempotency_key=again, payload_hash="new"))

    state = with_receipts(clean_database, story)
    assert (state.executes, state.seen_count, state.payload_hash) == (True, 2, "new")


def test_one_bad_receipt_fails_alone(clean_database: Database, run_id: str) -> None:
    async def story(receipts: PostgresReceipts) -> list[ReceiptState | BaseException]:
        wanted = [a_receipt(run_id, f"k{n}") for n in range(20)] + [a_receipt("run_unknown", "bad")]
        return await asyncio.gather(*map(receipts.start, wanted), return_exceptions=True)

    *good, bad = with_receipts(clean_database, story)
    assert isinstance(bad, ReceiptsUnavailable)
    assert all(isinstance(state, ReceiptState) and state.executes for state in good)


def test_a_cancelled_caller_does_not_stop_the_others(clean_database: Database, run_id: str) -> None:
    async def story(receipts: PostgresReceipts) -> ReceiptState:
        gone = asyncio.create_task(receipts.start(a_receipt(run_id, "gone")))
        stays = asyncio.create_task(receipts.start(a_receipt(run_id, "stays")))
        await asyncio.sleep(0)
        gone.cancel()
        return await stays

    assert with_receipts(clean_database, story).executes


def test_a_worker_that_comes_back_adopts_through_the_receipt(clean_database: Database, run_id: str) -> None:
    context = TaskContext(run_id, "ExecuteST", 1, TASK_KEY)

    async def story(receipts: PostgresReceipts) -> tuple[ErrorCode, float]:
        first = asyncio.create_task(MockSandbox(receipts).run(a_request("sleep 0.4"), context, ignore))
        await asyncio.sleep(0.2)
        first.cancel()
        loop = asyncio.get_running_loop()
        began = loop.time()
        result = await MockSandbox(receipts).run(a_request("sleep 0.4"), context, ignore)
        return result.err_code, loop.time() - began

    err_code, waited = with_receipts(clean_database, story)
    assert err_code is ErrorCode.NONE
    assert waited < 0.39
    with clean_database.connect() as connection:
        row = connection.execute("SELECT seen_count, request_count FROM app.mock_receipts").fetchone()
    assert row == {"seen_count": 1, "request_count": 2}


def test_receipts_that_arrive_together_share_transactions(clean_database: Database, run_id: str) -> None:
    async def story(receipts: PostgresReceipts) -> None:
        await asyncio.gather(*(receipts.start(a_receipt(run_id, f"k{n}")) for n in range(3000)))

    with_receipts(clean_database, story)
    with clean_database.connect() as connection:
        (row,) = connection.execute("SELECT count(*), count(DISTINCT xmin::text) AS commits FROM app.mock_receipts")
    assert row["count"] == 3000
    assert row["commits"] <= 300
