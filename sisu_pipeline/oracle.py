"""The SQL oracle: evaluates the laws of `sql/oracle/` on one snapshot of the database.

A law is a query that returns no rows while it holds. Its file begins with comment lines: the law in plain words,
then `source:` and, if it needs a table that may not exist, `needs: schema.table`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.rows import scalar_row

import sql
from resources.database import Connection

_NEEDS = re.compile(r"^-- needs: (\S+)$", re.MULTILINE)
_SOURCE = re.compile(r"^-- source: (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Law:
    """A file of `sql/oracle/`: its name without `.sql`, the law in plain words, the table it needs, if any."""

    name: str
    purpose: str
    source: str
    needs: str | None
    query: str


@dataclass(frozen=True)
class Verdict:
    """The result of evaluating a law.

    `rows` are the first violations; each has a column `detail`, a text, beside the columns of its law. A law is not
    `applicable` when the table it needs does not exist.
    """

    law: str
    purpose: str
    rows: tuple[dict[str, Any], ...]
    applicable: bool = True

    @property
    def holds(self) -> bool:
        """True when nothing violates the law."""
        return not self.rows


def laws() -> list[Law]:
    """Every law, in the order of the files. Raises ValueError for a file without its law or its source."""
    return [_law(script) for script in sql.oracle()]


def judge(connection: Connection, limit: int = 20) -> list[Verdict]:
    """Evaluate every law on one snapshot, with at most `limit` violations each. The connection must be idle.

    Raises psycopg.errors.ActiveSqlTransaction in a transaction that has executed a statement already.
    """
    with connection.transaction():
        connection.execute(sql.query("oracle.snapshot"))
        return judge_here(connection, limit)


def judge_here(connection: Connection, limit: int = 20) -> list[Verdict]:
    """Evaluate every law in the caller's transaction, on what that transaction has changed."""
    connection.execute(sql.query("oracle.plan_for_speed"))
    return [_verdict(connection, law, limit) for law in laws()]


def is_clean(verdicts: Sequence[Verdict]) -> bool:
    """True when no law is violated."""
    return all(verdict.holds for verdict in verdicts)


def _law(script: sql.Script) -> Law:
    source, needs = _SOURCE.search(script.text), _NEEDS.search(script.text)
    purpose = script.purpose.split(" source: ")[0]
    if source is None or not purpose:
        raise ValueError(f"sql/oracle/{script.name}.sql must begin with its law and a `source:` line")
    return Law(script.name, purpose, source[1], needs and needs[1], script.text)


def _verdict(connection: Connection, law: Law, limit: int) -> Verdict:
    if law.needs is not None and not _exists(connection, law.needs):
        return Verdict(law.name, law.purpose, (), applicable=False)
    return Verdict(law.name, law.purpose, tuple(connection.execute(law.query).fetchmany(limit)))


def _exists(connection: Connection, table: str) -> bool:
    cursor = connection.cursor(row_factory=scalar_row)
    return bool(cursor.execute(sql.query("oracle.exists"), {"table": table}).fetchone())
