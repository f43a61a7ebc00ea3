"""Connections to Postgres: one database that holds the schemas `app`, `dagster` and `dbos`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg_pool import ConnectionPool

from resources import connection_fence
from resources.process_cache import once
from sisu_pipeline.domain.canonical import canonical_json, load_stored_json
from sisu_pipeline.domain.operator_errors import OperatorError

DATABASE = "app_local"

_POOL_SIZE = 16
_POOL_IDLE_S = 120.0

Row = dict[str, Any]
Connection = psycopg.Connection[Row]

# Everything stored as JSON is canonical on the way in, and keeps the precision of large doubles on the way out.
set_json_dumps(canonical_json)
set_json_loads(load_stored_json)


class DatabaseError(OperatorError):
    """The database cannot be used. The message tells the operator what to do."""

    code = "database"


@dataclass(frozen=True)
class Database:
    """A database by its libpq URL."""

    url: str

    @classmethod
    def from_url(cls, url: str) -> Self:
        """The database that `postgres://…` or `postgresql://…` names."""
        return cls(url.replace("postgres://", "postgresql://", 1) if url.startswith("postgres://") else url)

    @contextmanager
    def connect(self, *, autocommit: bool = False) -> Iterator[Connection]:
        """A connection with dict rows; commits on success, rolls back on error, closes either way."""
        with psycopg.connect(self.url, autocommit=autocommit, row_factory=dict_row) as connection:
            yield connection

    def sqlalchemy_url(self, driver: str) -> str:
        """The URL for SQLAlchemy, as `postgresql+psycopg://…`."""
        return self.url.replace("postgresql://", f"postgresql+{driver}://", 1)

    @property
    def dagster_url(self) -> str:
        """Dagster's storage URL: the same database, with `dagster` as its schema."""
        separator = "&" if "?" in self.url else "?"
        return f"{self.url}{separator}options={quote('-csearch_path=dagster')}"


@dataclass(frozen=True)
class PooledDatabase(Database):
    """The same for long-lived processes: a transaction takes a kept connection instead of opening one.

    Opening a connection costs Postgres a new process, about ten milliseconds of CPU. A session
    (`autocommit=True`: LISTEN, advisory locks) is a connection of its own all the same.
    """

    @contextmanager
    def connect(self, *, autocommit: bool = False) -> Iterator[Connection]:
        """A connection in a transaction: committed on success, rolled back on error, given back either way."""
        session = super().connect(autocommit=True) if autocommit else None
        try:
            with session or _pool(self.url, os.getpid()).connection() as connection:
                yield connection
        except (psycopg.OperationalError, psycopg.InterfaceError):
            connection_fence.connection_broke()
            raise


@once
def _pool(url: str, pid: int) -> ConnectionPool[Connection]:
    """One pool per database and process: a forked child must not share its parent's sockets."""
    return ConnectionPool(
        url,
        kwargs={"row_factory": dict_row},
        min_size=0,
        max_size=_POOL_SIZE,
        max_idle=_POOL_IDLE_S,
        open=True,
        check=connection_fence.check,
        name=f"sisu-{pid}",
    )
