"""Kinds of failures: by SQLSTATE, status and type, whatever the driver and whatever wraps them."""

import errno

import psycopg
import psycopg2
import pytest
from psycopg_pool import PoolClosed, PoolTimeout
from sqlalchemy.exc import DBAPIError, PendingRollbackError
from sqlalchemy.exc import OperationalError as EngineOperationalError

from resources.database import DatabaseError
from resources.failure_classification import (
    database_kind,
    is_database_away,
    is_out_of_resources,
    kind_of,
    sentence_of,
)
from resources.git.git_errors import GitRefused, GitUnavailable
from resources.planner.acp.agent_errors import AgentFailure, FailureCode
from sisu_pipeline.domain.failure_kind import FailureKind, kind_of_status

PERMANENT, PASSING, FATAL = FailureKind.PERMANENT, FailureKind.PASSING, FailureKind.FATAL

STATES = {
    "08006": PASSING,
    "08P01": PERMANENT,
    "0A000": PERMANENT,
    "22001": PERMANENT,
    "22P05": PERMANENT,
    "23505": PERMANENT,
    "23514": PERMANENT,
    "25006": PASSING,
    "28P01": FATAL,
    "3D000": FATAL,
    "40001": PASSING,
    "40002": PERMANENT,
    "40P01": PASSING,
    "42P01": PERMANENT,
    "42601": PERMANENT,
    "53100": PASSING,
    "53300": PASSING,
    "53400": PERMANENT,
    "54000": PERMANENT,
    "54001": PERMANENT,
    "55P03": PASSING,
    "57014": PASSING,
    "57P01": PASSING,
    "57P03": PASSING,
    "57P04": FATAL,
    "58030": PASSING,
    "P0001": PERMANENT,
    "XX000": PERMANENT,
}


@pytest.mark.parametrize(("state", "kind"), STATES.items())
def test_the_sqlstate_decides_and_not_the_family_of_the_error(state: str, kind: FailureKind) -> None:
    reported = psycopg.errors.lookup(state)("reported by the server")
    wrapped = DBAPIError("SELECT 1", {}, reported)
    caused = RuntimeError("the step failed")
    caused.__cause__ = wrapped
    assert [kind_of(each) for each in (reported, wrapped, caused)] == [kind] * 3
    assert is_database_away(reported) is (kind is not PERMANENT)


def test_an_entry_that_is_too_large_and_a_lost_connection_are_of_one_family_and_two_kinds() -> None:
    too_large, lost = psycopg.errors.ProgramLimitExceeded("too large"), psycopg.OperationalError("closed")
    assert isinstance(too_large, psycopg.OperationalError)
    assert (kind_of(too_large), kind_of(lost)) == (PERMANENT, PASSING)


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (PoolTimeout("no connection"), PASSING),
        (PoolClosed("closed"), PASSING),
        (psycopg.InterfaceError("the connection is closed"), PASSING),
        (psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"), PERMANENT),
        (psycopg.ProgrammingError("the query has 1 placeholder but 2 parameters were passed"), PERMANENT),
        (psycopg2.OperationalError("server closed the connection unexpectedly"), PASSING),
        (EngineOperationalError("SELECT 1", {}, psycopg2.OperationalError("could not connect")), PASSING),
        (DBAPIError("SELECT 1", {}, psycopg2.DatabaseError("cut off"), connection_invalidated=True), PASSING),
        (PendingRollbackError("the connection was lost before"), PASSING),
        (DatabaseError("cannot reach the database"), PASSING),
    ],
)
def test_without_a_sqlstate_the_type_decides_about_the_database(failure: Exception, kind: FailureKind) -> None:
    assert database_kind(failure) is kind_of(failure) is kind


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (ValueError("no number"), PERMANENT),
        (AssertionError(), PERMANENT),
        (MemoryError(), FATAL),
        (ConnectionResetError(), PASSING),
        (TimeoutError(), PASSING),
        (OSError(errno.ENOSPC, "No space left on device"), PASSING),
        (OSError(errno.ENAMETOOLONG, "File name too long"), PERMANENT),
        (GitUnavailable("the server is away"), PASSING),
        (GitRefused("no such branch"), PERMANENT),
        (AgentFailure(FailureCode.ENDED, "the agent ended"), PASSING),
        (AgentFailure(FailureCode.NO_PLAN, "the agent gave no plan"), PERMANENT),
    ],
)
def test_a_failure_of_anything_else_is_not_the_databases(failure: Exception, kind: FailureKind) -> None:
    assert (kind_of(failure), database_kind(failure)) == (kind, None)


def test_statuses_of_http() -> None:
    passing = [
        status
        for status in (400, 401, 403, 404, 408, 409, 410, 422, 425, 429, 500, 502, 503, 504, 529)
        if kind_of_status(status) is PASSING
    ]
    assert passing == [408, 425, 429, 500, 502, 503, 504, 529]


def test_a_sentence_has_one_bounded_line_and_the_sqlstate() -> None:
    refused = psycopg.errors.ProgramLimitExceeded("index row\nsize")
    assert sentence_of(refused) == "the database refused a statement: ProgramLimitExceeded (SQLSTATE 54000)"
    assert sentence_of(ValueError("a\n  b")) == "a b"
    assert sentence_of(KeyError()) == "KeyError"
    assert len(sentence_of(ValueError("x" * 9000))) == 500


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (OSError(errno.ENOSPC, "no space"), True),
        (OSError(errno.EMFILE, "too many files"), True),
        (OSError(errno.EACCES, "denied"), False),
        (psycopg.errors.DiskFull(), True),
        (psycopg.errors.TooManyConnections(), True),
        (psycopg.errors.ConfigurationLimitExceeded(), False),
        (psycopg.errors.AdminShutdown(), False),
        (psycopg.OperationalError("connection lost"), False),
        (ValueError("bad"), False),
    ],
)
def test_a_machine_without_resources_is_told_from_other_failures(failure: Exception, expected: bool) -> None:
    assert is_out_of_resources(failure) is expected
    wrapper = RuntimeError("a step failed")
    wrapper.__cause__ = failure
    assert is_out_of_resources(wrapper) is expected
