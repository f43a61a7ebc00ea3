"""The SQL oracle: the laws of `sql/oracle/`, judged on one moment of the database (seed §2, design §4).

A law is a query that returns no row while it holds. Its file begins with comment lines: the law in plain
words, then `source:` and, where it needs a table that may not exist, `needs: schema.table`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import sql
from resources.database import Connection, Row

_NEEDS = re.compile(r"^-- needs: (\S+)$", re.MULTILINE)
_SOURCE = re.compile(r"^-- source: (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Law:
    """A file of `sql/oracle/`: `name` without `.sql`, `purpose` in plain words, `needs` a table or nothing."""

    name: str
    purpose: str
    source: str
    needs: str | None
    query: str


@dataclass(frozen=True)
class Verdict:
    """What a law said: `rows` tell how it is broken (the first ones, each with a text `detail`).

    Not `applicable` means the table it needs does not exist: there was nothing to judge.
    """

    law: str
    purpose: str
    rows: tuple[Row, ...]
    applicable: bool = True

    @property
    def holds(self) -> bool:
        """True when nothing breaks the law."""
        return not self.rows


def laws() -> list[Law]:
    """Every law, in the order of the files. Raises ValueError for a file that does not say its law and source."""
    return [_law(script) for script in sql.oracle()]


def judge(connection: Connection, limit: int = 20) -> list[Verdict]:
    """Every law's verdict on one snapshot, at most `limit` rows each; the connection must be idle.

    Raises psycopg.errors.ActiveSqlTransaction inside a transaction that has read something already.
    """
    with connection.transaction():
        connection.execute(sql.query("oracle.snapshot"))
        return judge_here(connection, limit)


def judge_here(connection: Connection, limit: int = 20) -> list[Verdict]:
    """The same within the caller's transaction: it sees what that transaction has changed."""
    connection.execute(sql.query("oracle.plan_for_speed"))
    return [_verdict(connection, law, limit) for law in laws()]


def is_clean(verdicts: Sequence[Verdict]) -> bool:
    """True when no law is broken."""
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
    row = connection.execute(sql.query("oracle.exists"), {"table": table}).fetchone()
    return row is not None and bool(row["present"])
