"""The output of a running task can be read while it runs; a task that ends at once writes nothing."""

import asyncio
from collections.abc import Callable

import pytest

from resources.database import Database
from resources.sandbox.sandbox_port import Chunk
from sisu_pipeline.queueing import live_output
from sisu_pipeline.queueing.live_output import MAX_BYTES, LiveOutput
from sisu_pipeline.steps.execute import Task
from sisu_pipeline.store.outputs import task_output
from sisu_pipeline.store.outputs.task_output import Piece
from tests.unit.sandbox.requests import TASK_KEY, a_request

TASK = Task(3, a_request("true"))


def writing(database: Database) -> Callable[[list[Piece]], None]:
    def write(pieces: list[Piece]) -> None:
        with database.connect() as connection:
            task_output.append(connection, pieces)

    return write


def pieces_after(database: Database, seen: int = 0) -> list[Piece]:
    with database.connect() as connection:
        return task_output.after(connection, "run_1", seen)


def test_the_output_of_a_running_task_is_readable_before_it_ends(clean_database: Database) -> None:
    async def story() -> list[Piece]:
        live = LiveOutput(writing(clean_database))
        with live.of_task("run_1", TASK) as sink:
            sink(Chunk("stdout", "before it was live\n", 0))
            while not (pieces := await asyncio.to_thread(pieces_after, clean_database)):
                await asyncio.sleep(0.01)
            sink(Chunk("stderr", "after\n", 1))
            await live.drain()
        return pieces + pieces_after(clean_database, pieces[-1].id)

    pieces = asyncio.run(story())
    assert [(piece.task_key, piece.position, piece.kind, piece.chunk) for piece in pieces] == [
        (TASK_KEY, 3, "stdout", "before it was live\n"),
        (TASK_KEY, 3, "stderr", "after\n"),
    ]


def test_a_short_task_writes_no_live_output(clean_database: Database) -> None:
    written: list[Piece] = []

    async def story() -> None:
        live = LiveOutput(written.extend)
        for _ in range(100):
            with live.of_task("run_1", TASK) as sink:
                sink(Chunk("stdout", "OK\n", 0))
        await asyncio.sleep(2 * live_output.LIVE_AFTER_S)
        await live.drain()

    asyncio.run(story())
    assert written == []


def test_live_output_is_truncated_and_a_failed_write_harms_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_output, "LIVE_AFTER_S", 0)
    written: list[Piece] = []
    failures = 0

    def write(pieces: list[Piece]) -> None:
        nonlocal failures
        if failures == 0:
            failures = 1
            raise OSError("the database is away")
        written.extend(pieces)

    async def story() -> None:
        live = LiveOutput(write)
        with live.of_task("run_1", TASK) as sink:
            await asyncio.sleep(0.01)
            sink(Chunk("stdout", "lost", 0))
            await live.drain()
            for seq in range(100):
                sink(Chunk("stdout", "x" * 1024, seq))
            await live.drain()

    asyncio.run(story())
    assert MAX_BYTES - 1024 <= sum(len(piece.chunk) for piece in written) <= MAX_BYTES


def test_old_live_output_is_deleted(clean_database: Database) -> None:
    with clean_database.connect() as connection:
        task_output.append(connection, [Piece("run_1", TASK_KEY, 0, "stdout", text) for text in ("old", "new")])
        connection.execute("UPDATE app.task_output SET said_at = now() - interval '2 minutes' WHERE chunk = 'old'")
        assert task_output.trim(connection) == 1
    assert [piece.chunk for piece in pieces_after(clean_database)] == ["new"]
