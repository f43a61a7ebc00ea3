"""With several servers in the URL, every client finds the newest writer, and none uses one that was replaced."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import conninfo
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError as EngineOperationalError

from resources import writer_connections
from resources.database import Database
from resources.postgres_pool import Pool, PooledDatabase, PoolOptions, open_async_pool
from resources.writer_connections import RECORD, AsyncWriterConnection
from sql import query

NOWHERE = "/nowhere"


@pytest.fixture
def several(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """The session's server as the second of two, of which the first is dead; this test's own record."""
    monkeypatch.setattr(writer_connections, "_folder", tmp_path)
    monkeypatch.setattr(writer_connections, "_seen", {})
    monkeypatch.setattr(writer_connections, "_last_writer", {})
    folder = str(conninfo.conninfo_to_dict(database.url)["host"])
    hosts = quote(f"{NOWHERE},{folder}", safe="")
    # A URL of this test's own: pools of a process are shared by URL.
    yield Database.from_url(f"postgresql://postgres@/app_local?host={hosts}&application_name={tmp_path.name}")


def _session(database: Database) -> object:
    with database.connect() as connection:
        return connection.execute("SELECT 1 AS one").fetchall()[0]["one"]


def _pool(database: Database) -> object:
    pool = Pool(database.url, PoolOptions("test", 1, 1, timeout=2.0, reconnect_timeout=0.1), autocommit=True)
    pool.open()
    try:
        with pool.connection() as connection:
            return connection.execute("SELECT 1 AS one").fetchall()[0]["one"]
    finally:
        pool.close()


def _async_pool(database: Database) -> object:
    async def select() -> object:
        options = PoolOptions("test", 1, 1, timeout=2.0, reconnect_timeout=0.1)
        async with open_async_pool(database.url, options) as pool, pool.connection() as connection:
            row = await (await connection.execute("SELECT 1")).fetchone()
            return row and row[0]

    return asyncio.run(select())


def _listener(database: Database) -> object:
    async def select() -> object:
        async with await AsyncWriterConnection.connect(database.url, autocommit=True) as connection:
            row = await (await connection.execute("SELECT 1")).fetchone()
            return row and row[0]

    return asyncio.run(select())


def _engine(driver: str) -> Callable[[Database], object]:
    def select(database: Database) -> object:
        engine = create_engine(database.sqlalchemy_url(driver))
        try:
            with engine.connect() as connection:
                return connection.execute(text("SELECT 1")).scalar()
        finally:
            engine.dispose()

    return select


CLIENTS = [
    pytest.param(_session, id="session"),
    pytest.param(lambda database: _session(PooledDatabase(database.url)), id="transaction"),
    pytest.param(_pool, id="pool"),
    pytest.param(_async_pool, id="async pool"),
    pytest.param(_listener, id="listener"),
    pytest.param(_engine("psycopg"), id="DBOS"),
    pytest.param(_engine("psycopg2"), id="Dagster"),
]


@pytest.mark.parametrize("select", CLIENTS)
def test_every_client_passes_over_a_dead_server(several: Database, select: Callable[[Database], object]) -> None:
    assert select(several) == 1


@pytest.mark.parametrize("select", CLIENTS)
def test_no_client_uses_a_writer_that_was_replaced(
    several: Database, tmp_path: Path, select: Callable[[Database], object]
) -> None:
    with several.connect() as connection:
        row = connection.execute(query("writer.timeline")).fetchone()
    assert row is not None
    recorded = {row["cluster"]: row["timeline"] + 1}
    (tmp_path / RECORD).write_text(json.dumps(recorded))
    with pytest.raises((psycopg.OperationalError, EngineOperationalError)):
        select(several)
    assert json.loads((tmp_path / RECORD).read_text()) == recorded


def test_the_newest_timeline_is_recorded_for_other_processes(several: Database, tmp_path: Path) -> None:
    with several.connect() as connection:
        row = connection.execute(query("writer.timeline")).fetchone()
    assert row is not None
    assert json.loads((tmp_path / RECORD).read_text()) == {row["cluster"]: row["timeline"]}


def test_the_last_writer_is_tried_first(several: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    original = psycopg.Connection.connect.__func__  # type: ignore[attr-defined]

    def connect(cls: type[psycopg.Connection], text: str = "", /, **options: object) -> object:
        tried.append(str(options["host"]).split(",")[0])
        return original(cls, text, **options)

    monkeypatch.setattr(psycopg.Connection, "connect", classmethod(connect))
    for _ in range(2):
        _session(several)
    assert tried == [NOWHERE, str(conninfo.conninfo_to_dict(several.url)["host"]).split(",")[1]]


def test_a_role_without_privileges_may_read_the_timeline(database: Database) -> None:
    with database.connect() as connection:
        connection.execute("CREATE ROLE sisu_plain")
        connection.execute("SET LOCAL ROLE sisu_plain")
        assert connection.execute(query("writer.timeline")).fetchone() is not None
        connection.execute("RESET ROLE")
        connection.execute("DROP ROLE sisu_plain")
