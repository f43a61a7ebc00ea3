"""Pools of connections to Postgres: connections stay open, are checked when taken and replaced when broken."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg import IsolationLevel
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from resources import connection_fence
from resources.database import Connection, Database
from resources.failure_classification import is_database_away
from resources.process_cache import once
from resources.writer_connections import AsyncWriterConnection, WriterConnection

T = TypeVar("T")


@dataclass(frozen=True)
class PoolOptions:
    """The size of a pool, and its timeouts in seconds."""

    name: str
    min_size: int
    max_size: int
    max_idle: float = 600.0
    timeout: float = 30.0
    """How long a caller waits for a connection."""
    reconnect_timeout: float = 300.0
    """How long the pool tries to replace a broken connection before it waits for the next caller."""


class Pool:
    """A pool of connections to one database, shared by threads."""

    def __init__(self, url: str, options: PoolOptions, **parameters: Any) -> None:
        """Configure the pool; `parameters` are those of `psycopg.connect`. It connects when it is opened."""
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            url,
            connection_class=WriterConnection,
            kwargs={"row_factory": dict_row, **parameters},
            open=False,
            check=self._check,
            **vars(options),
        )

    def open(self) -> None:
        """Start connecting; returns at once, also while Postgres cannot be reached."""
        self._pool.open(wait=False)

    def close(self) -> None:
        """Close every connection; callers that wait for one get PoolTimeout."""
        self._pool.close()

    def connection(self) -> AbstractContextManager[Connection]:
        """A connection, whose transaction is committed on success and rolled back on error.

        Raises psycopg_pool.PoolTimeout when Postgres cannot be reached or every connection stays in use.
        """
        return self._pool.connection()

    @contextmanager
    def transaction(self, *, snapshot: bool = False) -> Iterator[Connection]:
        """A connection of an autocommit pool in a transaction.

        In a `snapshot`, every statement sees the database at one moment and none may write. Raises PoolTimeout as
        `connection` does.
        """
        with ExitStack() as held:
            yield self._begin(held, snapshot)

    def run(self, statement: Callable[[Connection], T]) -> T:
        """Execute one statement on a connection of an autocommit pool; it commits by itself.

        The statement must be idempotent: it is executed again when its connection breaks, which leaves open whether
        it was committed.
        """
        for is_last in (False, True):
            with self._pool.connection() as connection:
                try:
                    return statement(connection)
                except psycopg.OperationalError:
                    if is_last or not connection.closed:
                        raise
            self._pool.drain()
        raise AssertionError("the last attempt returns or raises")

    def _begin(self, held: ExitStack, snapshot: bool) -> Connection:
        """Begin a transaction. A connection that turns out to be broken is replaced: nothing was executed on it."""
        for is_last in (False, True):
            with ExitStack() as taken:
                connection = taken.enter_context(self._pool.connection())
                try:
                    connection.isolation_level = IsolationLevel.REPEATABLE_READ if snapshot else None
                    connection.read_only = True if snapshot else None
                    taken.enter_context(connection.transaction())
                except psycopg.OperationalError:
                    if is_last or not connection.closed:
                        raise
                else:
                    held.push(taken.pop_all())
                    return connection
            self._pool.drain()
        raise AssertionError("the last attempt returns or raises")

    def _check(self, connection: Connection) -> None:
        try:
            connection_fence.check(connection)
        except psycopg.OperationalError:
            # After a restart of Postgres all idle connections are broken; the pool pauses longer after each one.
            self._pool.drain()
            raise


@dataclass(frozen=True)
class PooledDatabase(Database):
    """A database for long-lived processes, whose transactions take a connection from a pool.

    A new connection costs Postgres a new process, about ten milliseconds of CPU. A session (`autocommit=True`, for
    LISTEN and advisory locks) still is a connection of its own.
    """

    @contextmanager
    def connect(self, *, autocommit: bool = False) -> Iterator[Connection]:
        """A connection in a transaction, which is committed on success and rolled back on error."""
        session = super().connect(autocommit=True) if autocommit else None
        try:
            with session or _process_pool(self.url, os.getpid()).connection() as connection:
                yield connection
        except Exception as failure:
            if is_database_away(failure):
                connection_fence.connection_broke()
            raise


def open_async_pool(url: str, options: PoolOptions) -> AsyncConnectionPool[psycopg.AsyncConnection[Any]]:
    """The pool of an event loop; an asynchronous context manager that connects when it is entered."""
    return AsyncConnectionPool(
        url,
        connection_class=AsyncWriterConnection,
        open=False,
        check=connection_fence.check_async,
        **vars(options),
    )


@once
def _process_pool(url: str, pid: int) -> Pool:
    """One pool per database and process: a forked child must not share its parent's sockets."""
    pool = Pool(url, PoolOptions(name=f"sisu-{pid}", min_size=0, max_size=16, max_idle=120.0))
    pool.open()
    return pool
