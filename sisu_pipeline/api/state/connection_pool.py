"""The API's connections: transactions, snapshots and single statements on one pool."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from resources.database import Connection, Database
from resources.postgres_pool import Pool as PostgresPool
from resources.postgres_pool import PoolOptions
from sisu_pipeline.crash_points import crash_point

T = TypeVar("T")

# How long a request waits for a connection, and about how long after a restart the pool notices Postgres.
_TIMEOUT_S = 3.0
_OPTIONS = PoolOptions(
    name="sisu-api",
    # Opening a connection takes longer than a decision, so that some are open before the first request.
    min_size=4,
    # More would not serve requests sooner: they would share the same cores, each with caches of its own to fill.
    max_size=10,
    max_idle=60,
    timeout=_TIMEOUT_S,
    reconnect_timeout=_TIMEOUT_S,
)


class Pool:
    """Connections to one database, shared by the request threads."""

    def __init__(self, database: Database) -> None:
        self._pool = PostgresPool(
            database.url,
            _OPTIONS,
            application_name="sisu-api",
            autocommit=True,  # `connect` and `snapshot` begin transactions
            connect_timeout=int(_TIMEOUT_S),
        )

    def open(self) -> None:
        """Start connecting; returns at once, so that the API can answer 503 while Postgres is down."""
        self._pool.open()

    def close(self) -> None:
        """Close every connection; requests that wait for one are refused."""
        self._pool.close()

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection in a transaction, which is committed on success and rolled back on error.

        Raises psycopg_pool.PoolTimeout when Postgres cannot be reached or every connection stays in use.
        """
        with self._pool.transaction() as connection:
            yield connection
            crash_point("api.commit.before")
        crash_point("api.commit.after")

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection in a read-only transaction, whose statements all see the database at one moment."""
        with self._pool.transaction(snapshot=True) as connection:
            yield connection
            crash_point("api.commit.before")
        crash_point("api.commit.after")

    def statement(self, execute: Callable[[Connection], T]) -> T:
        """The result of one idempotent statement that commits by itself, at a third of a transaction's round trips.

        It is executed again when its connection breaks, which leaves open whether it was committed.
        """
        crash_point("api.commit.before")
        result = self._pool.run(execute)
        crash_point("api.commit.after")
        return result

    def glance(self, read: Callable[[Connection], T]) -> T:
        """The result of one statement that only reads."""
        return self._pool.run(read)
