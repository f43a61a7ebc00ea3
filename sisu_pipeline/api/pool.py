"""The API's connections: kept open, checked when taken, replaced when Postgres restarts."""

import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from resources.database import Connection, Database
from sisu_pipeline.crash_points import crash_point
from sql import query

_SIZE = 20
# Opening one takes longer than a decision: a few are there for whoever comes first.
_FEWEST = 4
# How long a request waits for a connection, and about how long after a restart the pool notices Postgres.
_PATIENCE_S = 3.0


class Pool:
    """Connections to one database, shared by the request threads."""

    def __init__(self, database: Database) -> None:
        options: dict[str, Any] = {
            "row_factory": dict_row,
            "application_name": "sisu-api",
            # A transaction is begun by whoever needs one (`connect`).
            "autocommit": True,
            "connect_timeout": int(_PATIENCE_S),
        }
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            database.url,
            kwargs=options,
            min_size=_FEWEST,
            max_size=_SIZE,
            open=False,
            check=self._check,
            timeout=_PATIENCE_S,
            reconnect_timeout=_PATIENCE_S,
            max_idle=60,
            name="sisu-api",
        )

    def open(self) -> None:
        """Start connecting; returns at once, so that the API can say 503 while Postgres is down."""
        self._pool.open(wait=False)

    def close(self) -> None:
        """Close every connection; whoever waits for one is refused."""
        self._pool.close()

    def _check(self, connection: Connection) -> None:
        """Called for each connection a request takes; the pool replaces the one that fails.

        Postgres tells an idle connection that it ends, and the system that it has ended: either is there to
        be read. Where nothing is, a round trip per request would say nothing new.
        """
        if not _has_something_to_read(connection):
            return
        try:
            ConnectionPool.check_connection(connection)
        except psycopg.OperationalError:
            # Postgres restarted: the idle ones are all dead. Tried one by one, each would cost a growing pause.
            self._pool.drain()
            raise

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection in a transaction: committed on success, rolled back on error, given back either way.

        Raises psycopg_pool.PoolTimeout when Postgres cannot be reached or every connection stays busy.
        """
        with self._pool.connection() as connection, connection.transaction():
            yield connection
            crash_point("api.commit.before")
        crash_point("api.commit.after")

    @contextmanager
    def statement(self) -> Iterator[Connection]:
        """The same for one statement, which commits by itself: a third of the round trips."""
        with self._pool.connection() as connection:
            crash_point("api.commit.before")
            yield connection
        crash_point("api.commit.after")

    @contextmanager
    def glance(self) -> Iterator[Connection]:
        """The same for one statement that only reads."""
        with self._pool.connection() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """The same, read-only, and every statement sees the database at one moment."""
        with self.connect() as connection:
            connection.execute(query("views.snapshot"))
            yield connection


def _has_something_to_read(connection: Connection) -> bool:
    poller = select.poll()
    poller.register(connection.fileno(), select.POLLIN)
    return bool(poller.poll(0))
