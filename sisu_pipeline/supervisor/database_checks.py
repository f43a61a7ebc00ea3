"""Checks that connections to a server of your own are sessions, which poolers can take away."""

import psycopg

from resources.database import Database, DatabaseError
from sisu_pipeline.store.queues import engine_tables

_ATTEMPTS = 3
_DAGSTER_SCHEMA = "dagster"


def check_sessions(database: Database) -> None:
    """Check that each connection is a session of its own, and that Dagster's find their schema.

    Raises DatabaseError with what to change.
    """
    if any(_shares_a_session(database) for _ in range(_ATTEMPTS)):
        raise DatabaseError(
            "DATABASE_URL leads to a pooler that shares sessions between connections (transaction or statement "
            "pooling), but locks and notifications belong to sessions. Use "
            "session pooling, or connect to Postgres directly."
        )
    try:
        with Database(database.dagster_url).connect() as connection:
            schema = engine_tables.search_path(connection)
    except psycopg.Error as error:
        if "startup parameter" not in str(error):
            raise
        schema = "an error"
    if schema != _DAGSTER_SCHEMA:
        raise DatabaseError(
            f"the pooler of DATABASE_URL does not pass on the option search_path=dagster (got {schema}): add "
            "options to PgBouncer's ignore_startup_parameters, and give the role the search_path dagster."
        )


def _shares_a_session(database: Database) -> bool:
    """Whether two open connections are served by the same session of Postgres."""
    with database.connect(autocommit=True) as first, database.connect(autocommit=True) as second:
        return engine_tables.backend(first) == engine_tables.backend(second)
