"""Fencing: a worker that recovery has declared dead gets no further connection, so it commits nothing.

A worker is alive as long as the session that announced it (`sisu_pipeline/recovery/worker_liveness.py`). Recovery
terminates that session first, then every other session of the process by its name, and only then requeues its work.
It is therefore enough to check each connection once, after it has got that name: a connection that passes the check
exists when recovery looks for the sessions of the process, and a later one is refused. A pooled connection that was
terminated is noticed without a round trip: the end of its stream can be read.
"""

import select
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from weakref import WeakSet

import psycopg
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, InvalidatePoolError

from resources.writer_connections import NoNewestWriter, connect_to_newest
from sql import query


@dataclass(frozen=True)
class Fence:
    """The session on which a process depends, and what the process does when that session has ended."""

    backend_pid: int
    backend_start: datetime
    application_name: str
    lost: Callable[[], None]


_PASSED = "sisu_fence"
"""The key of an SQLAlchemy connection's record that holds the fence which the connection has passed."""

_fence: Fence | None = None
_checked: WeakSet[psycopg.Connection[Any] | psycopg.AsyncConnection[Any]] = WeakSet()
_stop: Callable[[], None] | None = None


def activate(fence: Fence) -> None:
    """From now on, refuse this process any connection when the session of the fence has ended."""
    global _fence
    _fence = fence


def stop_when_a_connection_breaks(stop: Callable[[], None]) -> None:
    """Call `stop` when a transaction or session of this process loses its connection.

    The process then ends and its work is resumed elsewhere. Without this, the work would be recorded as failed.
    """
    global _stop
    _stop = stop


def connection_broke() -> None:
    """Report that a transaction or session of this process lost its connection."""
    if _stop is not None:
        _stop()


def check(connection: psycopg.Connection[Any]) -> None:
    """Check a connection when it is taken from a pool: it works, and this process may use it.

    Raises OperationalError. Only the first time does this cost a round trip. A connection that breaks later is
    noticed by the first statement.
    """
    if _has_something_to_read(connection.fileno()):
        ConnectionPool.check_connection(connection)
    if _fence is None or connection in _checked:
        return
    if connection.info.transaction_status is not TransactionStatus.IDLE:
        raise psycopg.OperationalError("a connection was returned in the middle of a transaction")
    autocommit = connection.autocommit
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            lives = _names_and_passes(cursor, _fence)
    finally:
        connection.autocommit = autocommit
    if not lives:
        _fence.lost()
    _checked.add(connection)


async def check_async(connection: psycopg.AsyncConnection[Any]) -> None:
    """Check a connection of an asynchronous pool in the same way."""
    if _has_something_to_read(connection.fileno()):
        await AsyncConnectionPool.check_connection(connection)
    if _fence is None or connection in _checked:
        return
    await connection.set_autocommit(True)
    try:
        await connection.execute(query("workers.name_session"), {"name": _fence.application_name})
        cursor = await connection.execute(query("workers.session_lives"), _parameters(_fence))
        lives = await cursor.fetchone()
    finally:
        await connection.set_autocommit(False)
    if lives is None:
        _fence.lost()
    _checked.add(connection)


def guard(engine: Engine) -> None:
    """Check the connections of an SQLAlchemy engine too, and name them, so that recovery can terminate them."""
    engine.pool._pre_ping = False  # replaced by the check below

    @event.listens_for(engine, "checkout")
    def checked(connection: Any, record: Any, _proxy: object) -> None:
        must_respond = _has_something_to_read(connection.fileno())
        # A connection can be older than the fence of its process.
        must_pass = _fence is not None and record.info.get(_PASSED) is not _fence
        if not must_respond and not must_pass:
            return
        try:
            with connection.cursor() as cursor:
                lives = _names_and_passes(cursor, _fence) if _fence is not None else _responds(cursor)
            connection.commit()
        except Exception as error:
            if isinstance(error, DBAPIError) or engine.dialect.is_disconnect(error, connection, None):  # type: ignore[arg-type]
                raise InvalidatePoolError from error
            raise
        if _fence is not None and not lives:
            _fence.lost()
        record.info[_PASSED] = _fence


def watch(engine: Engine) -> None:
    """Report the loss of a connection of this engine, as `connection_broke` does.

    This is for Dagster's storage and for the batches of the fan-out, whose failures would fail the step and the
    run.
    """

    @event.listens_for(engine, "handle_error")
    def lost(context: ExceptionContext) -> None:
        # Without a connection, the attempt to open one has failed.
        if context.is_disconnect or context.connection is None:
            connection_broke()


@event.listens_for(Engine, "do_connect")
def _connect_engine(dialect: Any, _record: object, arguments: list[Any], parameters: dict[str, Any]) -> Any:
    """Connect every engine of this process to the newest writer; None leaves a single server to SQLAlchemy."""
    hosts, ports = str(parameters.get("host", "")).split(","), str(parameters.get("port", "")).split(",")
    if len(hosts) < 2:
        return None
    try:
        return connect_to_newest(
            tuple(zip(hosts, ports, strict=True)),
            lambda changes: dialect.connect(*arguments, **parameters | changes),
        )
    except NoNewestWriter as refusal:
        raise dialect.loaded_dbapi.OperationalError(str(refusal)) from refusal


def _names_and_passes(cursor: Any, fence: Fence) -> bool:
    """Name a session, then return whether its process still has the session of the fence; in this order."""
    cursor.execute(query("workers.name_session"), {"name": fence.application_name})
    cursor.execute(query("workers.session_lives"), _parameters(fence))
    return cursor.fetchone() is not None


def _responds(cursor: Any) -> bool:
    cursor.execute(query("workers.session_responds"))
    return True


def _has_something_to_read(descriptor: int) -> bool:
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(0))


def _parameters(fence: Fence) -> dict[str, object]:
    return {"pid": fence.backend_pid, "started": fence.backend_start}
