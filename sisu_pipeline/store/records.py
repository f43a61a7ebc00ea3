"""Execution of the statements in `sql/queries/`: a row becomes a record, which is a frozen dataclass."""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from types import UnionType
from typing import Any, TypeVar, get_args, get_type_hints

from psycopg.rows import BaseRowFactory, RowMaker, scalar_row

from resources.database import Connection
from sql import query

Record = TypeVar("Record")
Parameters = Mapping[str, Any]


def fetch_all(
    connection: Connection, statement: str, record: type[Record], parameters: Parameters | None = None
) -> list[Record]:
    """Every row of a statement. Each field of the record is read from the column of its name."""
    return connection.cursor(row_factory=_rows_as(record)).execute(query(statement), parameters).fetchall()


def fetch_first(
    connection: Connection, statement: str, record: type[Record], parameters: Parameters | None = None
) -> Record | None:
    """The first row of a statement; None when it returns none."""
    return connection.cursor(row_factory=_rows_as(record)).execute(query(statement), parameters).fetchone()


def fetch_one(
    connection: Connection, statement: str, record: type[Record], parameters: Parameters | None = None
) -> Record:
    """The row of a statement that always returns one."""
    row = fetch_first(connection, statement, record, parameters)
    assert row is not None, f"{statement} returned no row"
    return row


def fetch_column(connection: Connection, statement: str, parameters: Parameters | None = None) -> list[Any]:
    """The first column of every row of a statement."""
    return connection.cursor(row_factory=scalar_row).execute(query(statement), parameters).fetchall()


def fetch_value(connection: Connection, statement: str, parameters: Parameters | None = None) -> Any:
    """The first column of a statement's first row; None when it returns no row."""
    return connection.cursor(row_factory=scalar_row).execute(query(statement), parameters).fetchone()


def execute(connection: Connection, statement: str, parameters: Parameters | None = None) -> int:
    """Execute a statement; returns how many rows it returned or changed."""
    return connection.execute(query(statement), parameters).rowcount


def copy(connection: Connection, statement: str, rows: Iterable[Sequence[Any]]) -> None:
    """Send rows, one at a time, to a statement that copies them into a table."""
    with connection.cursor() as cursor, cursor.copy(query(statement)) as target:
        for row in rows:
            target.write_row(row)


def stream(
    connection: Connection, statement: str, record: type[Record], parameters: Parameters, batch: int
) -> Generator[Record, None, None]:
    """The rows of a statement, read `batch` rows at a time. Close the iterator inside the transaction."""
    name = statement.replace(".", "_")
    with connection.cursor(name, row_factory=_rows_as(record)) as cursor:
        cursor.itersize = batch
        yield from cursor.execute(query(statement), parameters)


def _rows_as(record: Callable[..., Record]) -> BaseRowFactory[Record]:
    """A row factory of records. Columns without a field are ignored: a newer schema may have more."""

    def row_maker(cursor: Any) -> RowMaker[Record]:
        names = [column.name for column in cursor.description or ()]
        places = [(name, names.index(name), member) for name, member in _fields(record).items() if name in names]

        def make(values: Sequence[Any]) -> Record:
            return record(**{name: _read(values[place], member) for name, place, member in places})

        return make

    return row_maker


@cache
def _fields(record: Any) -> dict[str, type[StrEnum] | None]:
    """The fields of a record, each with the enumeration its text is a member of, if any."""
    hints = get_type_hints(record)
    return {field.name: _enumeration(hints[field.name]) for field in fields(record)}


def _enumeration(hint: Any) -> type[StrEnum] | None:
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, StrEnum)), None)


def _read(value: Any, member: type[StrEnum] | None) -> Any:
    return value if member is None or value is None else member(value)


def iso(time: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and Z, as `2025-01-31T09:30:00.000Z`: how every answer writes a time."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
