"""Waiting for a database that is away: at the edges where an error would be taken for the end of something."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import psycopg
import psycopg2
from dagster_postgres.utils import DagsterPostgresException
from sqlalchemy.exc import SQLAlchemyError

from resources.database import DatabaseError

TRIES = 60
PAUSE_SECONDS = 1.0

DATABASE_AWAY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg2.Error,
    SQLAlchemyError,
    DagsterPostgresException,
    DatabaseError,
)
"""What a statement raises whose database is away: as psycopg, SQLAlchemy, Dagster and we say it."""

Answer = TypeVar("Answer")


def patiently(attempt: Callable[[], Answer]) -> Answer:
    """What `attempt` returns, tried again for a minute while the database is away; then what it raises.

    It may be interrupted anywhere and begun again, so it must be safe to repeat.
    """
    for _ in range(TRIES):
        with suppress(*DATABASE_AWAY):
            return attempt()
        threading.Event().wait(PAUSE_SECONDS)
    return attempt()
