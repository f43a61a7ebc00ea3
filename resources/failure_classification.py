"""Classification of failures: permanent, passing, or fatal for the process.

By SQLSTATE, HTTP status and type, never by the family of an exception: in every driver, an index entry that is too
large (54000) and a lost connection are both an OperationalError. What the kinds lead to is in `docs/runbook.md`.
"""

import errno
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import psycopg
import psycopg2
from sqlalchemy.exc import DBAPIError, DisconnectionError, PendingRollbackError, ResourceClosedError
from sqlalchemy.exc import InterfaceError as EngineInterfaceError
from sqlalchemy.exc import OperationalError as EngineOperationalError
from sqlalchemy.exc import TimeoutError as EnginePoolTimeout

from resources.database import DatabaseError
from sisu_pipeline.domain.failure_kind import FailureKind

MAX_SENTENCE = 500


@runtime_checkable
class Classified(Protocol):
    """An exception that knows its own kind."""

    @property
    def failure_kind(self) -> FailureKind:
        """The kind of this failure."""
        ...


# Prefixes of SQLSTATEs (https://www.postgresql.org/docs/current/errcodes-appendix.html); the longest one decides.
_BY_SQLSTATE = {
    "08": FailureKind.PASSING,  # connection
    "08P01": FailureKind.PERMANENT,  # protocol violation: the driver sent what the server cannot read
    "0A000": FailureKind.PERMANENT,
    "25006": FailureKind.PASSING,  # read-only: the server became a standby
    "25P03": FailureKind.PASSING,  # idle in a transaction for too long
    "25P04": FailureKind.PASSING,  # transaction timeout
    "28": FailureKind.FATAL,  # the role may not connect
    "3D000": FailureKind.FATAL,  # there is no such database
    "40": FailureKind.PASSING,  # serialization failure, deadlock
    "40002": FailureKind.PERMANENT,  # a constraint, checked at the commit
    "53": FailureKind.PASSING,  # no disk space, memory or connection left
    "53400": FailureKind.PERMANENT,  # a configured limit
    "55006": FailureKind.PASSING,  # object in use
    "55P03": FailureKind.PASSING,  # lock timeout
    "57": FailureKind.PASSING,  # shutdown, start, canceled statement
    "57P04": FailureKind.FATAL,  # the database was dropped
    "58": FailureKind.PASSING,  # the server's operating system
    "72": FailureKind.PASSING,  # snapshot too old
}
_PASSING_ERRORS = frozenset(
    {
        errno.EAGAIN,
        errno.EDQUOT,
        errno.EHOSTUNREACH,
        errno.EIO,
        errno.EMFILE,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.ENOSPC,
        errno.ESTALE,
    }
)
_RESOURCES_USED_UP = frozenset(
    {errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ENOSPC}
)
_PASSING_STATUSES = frozenset({408, 425, 429})
"""Request timeout, too early, too many requests: the same request may succeed later."""
_CONNECTION_LOST = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg2.OperationalError,
    psycopg2.InterfaceError,
    EngineOperationalError,
    EngineInterfaceError,
)
"""What drivers raise without a SQLSTATE when no server answers. With a SQLSTATE, that alone decides."""
_ENGINE_LOST = (DisconnectionError, EnginePoolTimeout, PendingRollbackError, ResourceClosedError, DatabaseError)


def kind_of(failure: BaseException) -> FailureKind:
    """The kind of a failure. One that nothing here describes is permanent: a repetition needs a reason."""
    database = database_kind(failure)
    if database is not None:
        return database
    for each in _causes(failure):
        if (kind := _own_kind(each)) is not None:
            return kind
    return FailureKind.PERMANENT


def database_kind(failure: BaseException) -> FailureKind | None:
    """The kind of a failure of the database; None for any other failure."""
    for each in _causes(failure):
        if isinstance(each, DBAPIError) and each.connection_invalidated:
            return FailureKind.PASSING
        state = sqlstate_of(each)
        if state is not None:
            return FailureKind.PASSING if _is_outdated_plan(each) else _kind_of_state(state)
        if isinstance(each, _ENGINE_LOST):
            return FailureKind.PASSING
        if isinstance(each, _CONNECTION_LOST) and _cause(each) is None:
            return FailureKind.PASSING
        if isinstance(each, psycopg.Error | psycopg2.Error):
            return FailureKind.PERMANENT
    return None


def kind_of_http_status(status: int) -> FailureKind:
    """The failure kind of a response without success: one that refuses the request itself is permanent."""
    is_refusal = 400 <= status < 500 and status not in _PASSING_STATUSES
    return FailureKind.PERMANENT if is_refusal else FailureKind.PASSING


def is_database_away(failure: BaseException) -> bool:
    """Whether the database, not the work, is the reason: another attempt or another process may succeed."""
    return database_kind(failure) in (FailureKind.PASSING, FailureKind.FATAL)


def is_out_of_resources(failure: BaseException) -> bool:
    """Whether the disk, memory, file descriptors or connections of a machine are used up: a pause may help."""
    for each in _causes(failure):
        state = sqlstate_of(each)
        if state is not None:
            return state.startswith("53") and _kind_of_state(state) is FailureKind.PASSING
        if isinstance(each, OSError) and each.errno in _RESOURCES_USED_UP:
            return True
    return False


def is_conflict(failure: BaseException) -> bool:
    """Whether the transaction may succeed at once.

    It lost against another one, by serialization or deadlock, or a migration has outdated a prepared statement.
    """
    if any(_is_outdated_plan(each) for each in _causes(failure)):
        return True
    state = next((state for each in _causes(failure) if (state := sqlstate_of(each)) is not None), None)
    return state is not None and state.startswith("40") and _kind_of_state(state) is FailureKind.PASSING


def sqlstate_of(failure: BaseException) -> str | None:
    """The SQLSTATE of an error that the server reported; None for any other failure."""
    state = getattr(failure, "sqlstate", None) or getattr(failure, "pgcode", None)
    return state if isinstance(state, str) else None


def sentence_of(failure: BaseException) -> str:
    """One line for people. Of the database's errors only the message: the detail may quote stored content."""
    for each in _causes(failure):
        state = sqlstate_of(each)
        if state is not None:
            message = getattr(getattr(each, "diag", None), "message_primary", None) or type(each).__name__
            return _one_line(f"the database refused a statement: {message} (SQLSTATE {state})")
    return _one_line(str(failure) or type(failure).__name__)


def _own_kind(failure: BaseException) -> FailureKind | None:
    if isinstance(failure, Classified):
        return failure.failure_kind
    if isinstance(failure, MemoryError):
        return FailureKind.FATAL
    if isinstance(failure, ConnectionError | TimeoutError):
        return FailureKind.PASSING
    if isinstance(failure, OSError):
        return FailureKind.PASSING if failure.errno in _PASSING_ERRORS else FailureKind.PERMANENT
    return None


def _is_outdated_plan(failure: BaseException) -> bool:
    """Whether a prepared statement was refused because a migration has added a column to its result.

    The driver prepares it again after the rollback. The SQLSTATE is that of unsupported features, and the message
    is in the server's language, so the function of the server decides.
    """
    return getattr(getattr(failure, "diag", None), "source_function", None) == "RevalidateCachedQuery"


def _kind_of_state(state: str) -> FailureKind:
    known = [prefix for prefix in _BY_SQLSTATE if state.startswith(prefix)]
    return _BY_SQLSTATE[max(known, key=len)] if known else FailureKind.PERMANENT


def _causes(failure: BaseException) -> Iterator[BaseException]:
    """The failure and, one after the other, the errors that it wraps."""
    seen: set[int] = set()
    each: BaseException | None = failure
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = _cause(each)


def _cause(failure: BaseException) -> BaseException | None:
    original = failure.orig if isinstance(failure, DBAPIError) else None
    return original or failure.__cause__


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_SENTENCE else line[: MAX_SENTENCE - 1] + "…"
