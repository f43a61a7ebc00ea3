"""Expected failures of a command, and the exit codes.

Exit codes: 0 success; 1 refused or failed; 2 unusable environment (settings, database, stack, checkout);
3 waiting for a human decision.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sisu_pipeline.domain.operator_errors import OperatorError

FAILED = 1
ENVIRONMENT_ERROR = 2
WAITING = 3


@dataclass(frozen=True)
class Failure(Exception):
    """A failure the user can act on: one line of message, a code for programs, optional details by pointer."""

    message: str
    code: str
    exit_status: int = FAILED
    details: Sequence[dict[str, str]] = ()

    def document(self) -> dict[str, Any]:
        """The failure as JSON, in the format of the API's errors."""
        return {"error": self.message, "code": self.code, "details": list(self.details)}


def failure_of(error: Exception) -> Failure | None:
    """Translate an exception into a failure; None for an unexpected one."""
    if isinstance(error, Failure):
        return error
    # Imported here, as what follows: only a command that failed needs it.
    from sisu_pipeline.client import RequestFailed

    if isinstance(error, RequestFailed):
        status = FAILED if error.status else ENVIRONMENT_ERROR
        return Failure(error.message, error.code, status, error.details)
    code = error.code if isinstance(error, OperatorError) else _database_codes().get(type(error))
    return None if code is None else Failure(str(error).strip(), code, ENVIRONMENT_ERROR)


def _database_codes() -> dict[type[Exception], str]:
    import psycopg

    return {
        psycopg.OperationalError: "database",
        psycopg.errors.UndefinedTable: "database_not_migrated",
        psycopg.errors.LockNotAvailable: "database_busy",
    }
