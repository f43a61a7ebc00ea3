"""Retries of work that fails because the database is unreachable, where Dagster would fail the run."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import psycopg
import psycopg2
from dagster_postgres.utils import DagsterPostgresException
from sqlalchemy.exc import SQLAlchemyError

from resources.database import DatabaseError

RETRIES = 60
RETRY_INTERVAL_SECONDS = 1.0

DATABASE_AWAY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg2.Error,
    SQLAlchemyError,
    DagsterPostgresException,
    DatabaseError,
)
"""The errors of a statement whose database is unreachable, from every driver and layer in use."""

Result = TypeVar("Result")


def retry_while_database_is_away(attempt: Callable[[], Result]) -> Result:
    """Call `attempt` until the database answers, once a second for a minute; return its result.

    `attempt` must be safe to repeat: an error may interrupt it anywhere. Raises what the last attempt raises.
    """
    for _ in range(RETRIES):
        with suppress(*DATABASE_AWAY):
            return attempt()
        threading.Event().wait(RETRY_INTERVAL_SECONDS)
    return attempt()
