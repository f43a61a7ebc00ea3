"""The API's connections: kept open, checked when taken, replaced when Postgres restarts."""

import select
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from resources.database import Connection, Database
from sisu_pipeline.crash_points import crash_point
from sql import query

T = TypeVar("T")

# More would not be served sooner: they would share the same cores, each with caches of its own to fill.
_SIZE = 10
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
        be read. Where nothing is, a round trip per request would say nothing new; what ends at this very
        moment is noticed by the first statement.
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
        with ExitStack() as held:
            connection = self._begin(held)
            yield connection
            crash_point("api.commit.before")
        crash_point("api.commit.after")

    def statement(self, say: Callable[[Connection], T]) -> T:
        """What one statement answers that commits by itself: a third of a transaction's round trips.

        It is said again when its connection breaks, which leaves open whether it was heard: only for what may
        be said twice.
        """
        crash_point("api.commit.before")
        answer = self._alone(say)
        crash_point("api.commit.after")
        return answer

    def glance(self, read: Callable[[Connection], T]) -> T:
        """What one statement answers that only reads."""
        return self._alone(read)

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """The same, read-only, and every statement sees the database at one moment."""
        with self.connect() as connection:
            connection.execute(query("views.snapshot"))
            yield connection

    def _begin(self, held: ExitStack) -> Connection:
        """A connection in a transaction. One that turns out to be dead is replaced: nothing was said on it yet."""
        for is_last in (False, True):
            with ExitStack() as taken:
                connection = taken.enter_context(self._pool.connection())
                try:
                    taken.enter_context(connection.transaction())
                except psycopg.OperationalError:
                    if is_last or not connection.closed:
                        raise
                else:
                    held.push(taken.pop_all())
                    return connection
            self._pool.drain()
        raise AssertionError("the last try returns or raises")

    def _alone(self, say: Callable[[Connection], T]) -> T:
        for is_last in (False, True):
            with self._pool.connection() as connection:
                try:
                    return say(connection)
                except psycopg.OperationalError:
                    if is_last or not connection.closed:
                        raise
            self._pool.drain()
        raise AssertionError("the last try returns or raises")


def _has_something_to_read(connection: Connection) -> bool:
    poller = select.poll()
    poller.register(connection.fileno(), select.POLLIN)
    return bool(poller.poll(0))
