"""What can go wrong for the person at the terminal, and how the program ends then.

Exit codes: 0 done, 1 refused or failed, 2 cannot work here (settings, database, stack), 3 waits for a person.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sisu_pipeline.domain.operator_errors import OperatorError

REFUSED = 1
CANNOT_WORK = 2
WAITS = 3


@dataclass(frozen=True)
class Failure(Exception):
    """A failure a person can act on: one line, a code for programs, the places it is about."""

    message: str
    code: str
    exit_status: int = REFUSED
    details: Sequence[dict[str, str]] = ()

    def document(self) -> dict[str, Any]:
        """As JSON, like the API's own refusals."""
        return {"error": self.message, "code": self.code, "details": list(self.details)}


def failure_of(error: Exception) -> Failure | None:
    """The failure an exception means; None for one nobody foresaw. Imports lazily: it is rarely called."""
    if isinstance(error, Failure):
        return error
    code = error.code if isinstance(error, OperatorError) else _database_codes().get(type(error))
    return None if code is None else Failure(str(error).strip(), code, CANNOT_WORK)


def _database_codes() -> dict[type[Exception], str]:
    import psycopg

    return {
        psycopg.OperationalError: "database",
        psycopg.errors.UndefinedTable: "database_not_migrated",
        psycopg.errors.LockNotAvailable: "database_busy",
    }
