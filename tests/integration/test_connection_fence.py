"""A connection is checked once, under its worker's name; one that was terminated is replaced before it is used."""

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo
from sqlalchemy import Engine, create_engine, text

from resources import connection_fence
from resources.connection_fence import Fence
from resources.database import Connection, Database
from resources.postgres_pool import Pool, PoolOptions
from sisu_pipeline.store.queues import worker_sessions

NAME = "sisu-worker fence-test"


class WorkerStopped(BaseException):
    """What a worker does when its session has ended; no pool may take it for a broken connection."""


def stop() -> None:
    raise WorkerStopped


@pytest.fixture(autouse=True)
def no_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process has no fence before the test and none after it."""
    monkeypatch.setattr(connection_fence, "_fence", None)


@pytest.fixture
def engine(database: Database) -> Iterator[Engine]:
    engine = create_engine(database.sqlalchemy_url("psycopg"), pool_size=1, max_overflow=0)
    connection_fence.guard(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def pool(database: Database) -> Iterator[Pool]:
    pool = Pool(make_conninfo(database.url), PoolOptions(name="fence-test", min_size=1, max_size=1))
    pool.open()
    yield pool
    pool.close()


def announced(session: Connection) -> Fence:
    lock = worker_sessions.try_lock(session, "fence-test")
    fence = Fence(lock.pid, lock.started, NAME, stop)
    connection_fence.activate(fence)
    return fence


def terminate(database: Database, pid: int) -> None:
    with database.connect(autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


def pid_and_name(engine: Engine) -> tuple[int, str]:
    with engine.connect() as connection:
        row = connection.execute(text("SELECT pg_backend_pid(), current_setting('application_name')")).one()
        return row[0], row[1]


def test_an_engines_connection_is_checked_once(
    engine: Engine, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks: list[Fence] = []
    check = connection_fence._names_and_passes

    def counted(cursor: Any, fence: Fence) -> bool:
        checks.append(fence)
        return check(cursor, fence)

    monkeypatch.setattr(connection_fence, "_names_and_passes", counted)
    with database.connect(autocommit=True) as session:
        fence = announced(session)
        first = pid_and_name(engine)
        assert pid_and_name(engine) == first == (first[0], NAME)
        assert checks == [fence]
        engine.dispose()
        assert pid_and_name(engine)[0] != first[0]
        assert checks == [fence, fence]


def test_an_engines_connection_that_is_older_than_the_fence_gets_its_name(
    engine: Engine, database: Database
) -> None:
    older = pid_and_name(engine)
    assert older[1] != NAME
    with database.connect(autocommit=True) as session:
        announced(session)
        assert pid_and_name(engine) == (older[0], NAME)


def test_a_new_connection_of_an_engine_is_refused_when_the_session_has_ended(
    engine: Engine, database: Database
) -> None:
    with database.connect(autocommit=True) as session:
        fence = announced(session)
        pid, _ = pid_and_name(engine)
        terminate(database, fence.backend_pid)
    # Recovery terminates the worker's other sessions next.
    terminate(database, pid)
    with pytest.raises(WorkerStopped):
        pid_and_name(engine)


def test_a_terminated_connection_of_an_engine_is_replaced(engine: Engine, database: Database) -> None:
    pid, _ = pid_and_name(engine)
    terminate(database, pid)
    assert pid_and_name(engine)[0] != pid


def test_a_pools_connection_is_checked_and_named_once(pool: Pool, database: Database) -> None:
    with pool.connection() as connection:
        connection.execute("SELECT 1")
    with database.connect(autocommit=True) as session:
        announced(session)
        with pool.connection() as connection:
            assert connection.info.parameter_status("application_name") == NAME
            pid = connection.info.backend_pid
            assert connection in connection_fence._checked
    terminate(database, pid)


def test_a_new_connection_of_a_pool_is_refused_when_the_session_has_ended(pool: Pool, database: Database) -> None:
    with database.connect(autocommit=True) as session:
        fence = announced(session)
        with pool.connection() as connection:
            pid = connection.info.backend_pid
        terminate(database, fence.backend_pid)
    terminate(database, pid)
    with pytest.raises(WorkerStopped), pool.connection():
        pass
