"""Waiting for rows: one LISTEN instead of polling."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from psycopg import sql

from resources.database import Connection, Database, Row

LOOK_EVERY_SECONDS = 2.0
"""How often rows are read again though nobody said anything: some are due only after a while."""


def listen(session: Connection, channel: str) -> None:
    """Have the session told of the channel's notifications."""
    session.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))


class Listener:
    """A session that is told of a channel's notifications; those that come while nobody waits are kept for it."""

    def __init__(self, session: Connection, channel: str) -> None:
        self.session = session
        listen(session, channel)

    def wait(self, seconds: float) -> set[str]:
        """The payloads of all notifications there are, as soon as there is one; empty after `seconds`."""
        return {notice.payload for notice in self.session.notifies(timeout=seconds, stop_after=1)}


@contextmanager
def listening(database: Database, channel: str) -> Iterator[Listener]:
    """A listener with a session of its own, for as long as the block."""
    with database.connect(autocommit=True) as session:
        yield Listener(session, channel)


def wait_for_rows(
    database: Database,
    channel: str,
    read: Callable[[Connection], list[Row]],
    seconds: float,
) -> list[Row]:
    """Rows as soon as `read` finds any, or [] after `seconds`.

    Listens first and reads then, so that a row that arrives in between is seen. What nobody says anything about
    (somebody who was asked for it may have died) is found by looking again.
    """
    deadline = time.monotonic() + seconds
    with listening(database, channel) as listener:
        while not (rows := read(listener.session)):
            left = deadline - time.monotonic()
            if left <= 0:
                return []
            listener.wait(min(left, LOOK_EVERY_SECONDS))
        return rows
