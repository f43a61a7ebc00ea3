"""Connections to Postgres: one database that holds the schemas `app`, `dagster` and `dbos`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import set_json_dumps, set_json_loads

from resources.writer_connections import WriterConnection, normalized, with_options
from sisu_pipeline.domain.canonical import canonical_json, load_stored_json
from sisu_pipeline.domain.operator_errors import OperatorError

DATABASE = "app_local"
CONNECT_TIMEOUT_S = 10
"""How long to wait for a server that does not answer, unless the URL has a `connect_timeout`."""

Connection = psycopg.Connection[dict[str, Any]]

# JSON is stored in canonical form, and read without losing the precision of large doubles.
set_json_dumps(canonical_json)
set_json_loads(load_stored_json)


class DatabaseError(OperatorError):
    """The database cannot be used. The message contains what the operator can do."""

    code = "database"


@dataclass(frozen=True)
class Database:
    """A database by its libpq URL."""

    url: str

    @classmethod
    def from_url(cls, url: str) -> Self:
        """The database that `postgres://…` or `postgresql://…` names, with one server or with several.

        Raises DatabaseUrlError.
        """
        return cls(normalized(url))

    @contextmanager
    def connect(self, *, autocommit: bool = False) -> Iterator[Connection]:
        """A new connection, whose transaction is committed on success and rolled back on error."""
        timeout = None if "connect_timeout=" in self.url else CONNECT_TIMEOUT_S
        with WriterConnection[dict[str, Any]].connect(
            self.url, autocommit=autocommit, row_factory=dict_row, connect_timeout=timeout
        ) as connection:
            yield connection

    def sqlalchemy_url(self, driver: str) -> str:
        """The URL for SQLAlchemy, as `postgresql+psycopg://…`."""
        return self.url.replace("postgresql://", f"postgresql+{driver}://", 1)

    @property
    def dagster_url(self) -> str:
        """Dagster's storage URL: the same database, with `dagster` as its schema."""
        return with_options(self.url, "-csearch_path=dagster")
