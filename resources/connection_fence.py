"""Fencing: a worker that recovery has declared dead gets no further connection, so it commits nothing.

A worker is alive as long as the session that announced it (`sisu_pipeline/recovery/worker_liveness.py`). Recovery
terminates that session first, then every other session of the process, and only then requeues its work. It is
therefore enough to check each connection when it is taken: earlier ones are terminated, later ones are refused.
"""

import select
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, InvalidatePoolError

from sql import query


@dataclass(frozen=True)
class Fence:
    """The session a process stands or falls with, and what it does when that session is gone."""

    backend_pid: int
    backend_start: datetime
    application_name: str
    lost: Callable[[], None]


_fence: Fence | None = None
_stop: Callable[[], None] | None = None


def put_up(fence: Fence) -> None:
    """From now on this process takes a connection only while the fence's session lives."""
    global _fence
    _fence = fence


def stop_when_a_connection_breaks(stop: Callable[[], None]) -> None:
    """Have this process end when a transaction or session of it is lost: what it held is resumed elsewhere.

    Without that, whatever it was for would be taken for failed.
    """
    global _stop
    _stop = stop


def connection_broke() -> None:
    """A transaction or session of this process lost its connection."""
    if _stop is not None:
        _stop()


def check(connection: psycopg.Connection[Any]) -> None:
    """Check a connection when it is taken from a pool: it works, and this process may still use it.

    Raises OperationalError. Without a fence this costs no round trip: when Postgres ends an idle connection, its
    message and the end of the stream can be read. A connection that breaks later is noticed by the first statement.
    """
    if _fence is None:
        if _has_something_to_read(connection.fileno()):
            ConnectionPool.check_connection(connection)
        return
    if connection.info.transaction_status is not TransactionStatus.IDLE:
        raise psycopg.OperationalError("a connection was returned in the middle of a transaction")
    autocommit = connection.autocommit
    connection.autocommit = True
    try:
        lives = connection.execute(query("segments.session_lives"), _parameters(_fence)).fetchone()
    finally:
        connection.autocommit = autocommit
    if lives is None:
        _fence.lost()


async def check_async(connection: psycopg.AsyncConnection[Any]) -> None:
    """Check a connection of an asynchronous pool in the same way."""
    if _fence is None:
        if _has_something_to_read(connection.fileno()):
            await AsyncConnectionPool.check_connection(connection)
        return
    await connection.set_autocommit(True)
    try:
        cursor = await connection.execute(query("segments.session_lives"), _parameters(_fence))
        lives = await cursor.fetchone()
    finally:
        await connection.set_autocommit(False)
    if lives is None:
        _fence.lost()


def guard(engine: Engine) -> None:
    """The same for an SQLAlchemy engine; its connections carry the process's name, so that they can be ended."""
    engine.pool._pre_ping = False  # the check below is one

    @event.listens_for(engine, "connect")
    def name(connection: Any, _record: object) -> None:
        if _fence is not None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('application_name', %s, false)", [_fence.application_name])
            connection.commit()

    @event.listens_for(engine, "checkout")
    def checked(connection: Any, _record: object, _proxy: object) -> None:
        try:
            with connection.cursor() as cursor:
                if _fence is None:
                    cursor.execute("SELECT 1")
                    lives = True
                else:
                    cursor.execute(query("segments.session_lives"), _parameters(_fence))
                    lives = cursor.fetchone() is not None
            connection.rollback()
        except Exception as error:
            if isinstance(error, DBAPIError) or engine.dialect.is_disconnect(error, connection, None):  # type: ignore[arg-type]
                raise InvalidatePoolError from error
            raise
        if not lives:
            assert _fence is not None
            _fence.lost()


def watch(engine: Engine) -> None:
    """Have a statement of this engine that loses its connection, or gets none, end the process like a transaction.

    For Dagster's own storage and for the fan-out's batches: what they say in a step would else fail the step, and
    with it the run.
    """

    @event.listens_for(engine, "handle_error")
    def lost(context: ExceptionContext) -> None:
        # Without a connection it is the attempt to open one that failed.
        if context.is_disconnect or context.connection is None:
            connection_broke()


def _has_something_to_read(descriptor: int) -> bool:
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(0))


def _parameters(fence: Fence) -> dict[str, object]:
    return {"pid": fence.backend_pid, "started": fence.backend_start}
