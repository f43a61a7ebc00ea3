"""Waiting for rows: one LISTEN instead of polling."""

import time
from collections.abc import Callable

from psycopg import sql

from resources.database import Connection, Database, Row


def listen(session: Connection, channel: str) -> None:
    """Have the session told of the channel's notifications."""
    session.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))


def wait_for_rows(
    database: Database,
    channel: str,
    read: Callable[[Connection], list[Row]],
    seconds: float,
) -> list[Row]:
    """Rows as soon as `read` finds any, or [] after `seconds`.

    Listens first and reads then, so that a row that arrives in between is seen.
    """
    deadline = time.monotonic() + seconds
    with database.connect(autocommit=True) as connection:
        listen(connection, channel)
        while not (rows := read(connection)):
            left = deadline - time.monotonic()
            if left <= 0:
                return []
            for _ in connection.notifies(timeout=left, stop_after=1):
                pass
        return rows
