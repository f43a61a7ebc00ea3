"""Notifications of Postgres: waiting for rows with LISTEN instead of polling."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from resources.database import Connection, Database

Record = TypeVar("Record")

REREAD_SECONDS = 2.0
"""How often rows are read again without a notification: some are due only after a while."""


def listen(session: Connection, channel: str) -> None:
    """Subscribe a session to the notifications of a channel."""
    session.execute(_listen(channel))


async def listen_async(session: psycopg.AsyncConnection[Any], channel: str) -> None:
    """Subscribe an asynchronous session to the notifications of a channel."""
    await session.execute(_listen(channel))


class Listener:
    """A session that is subscribed to a channel. Notifications that arrive between two waits are buffered."""

    def __init__(self, session: Connection, channel: str) -> None:
        self.session = session
        listen(session, channel)

    def wait(self, seconds: float) -> set[str]:
        """Wait for a notification; returns the payloads of all that have arrived, or nothing after `seconds`."""
        return {notice.payload for notice in self.session.notifies(timeout=seconds, stop_after=1)}


@contextmanager
def listening(database: Database, channel: str) -> Iterator[Listener]:
    """A listener with a session of its own, which is closed at the end."""
    with database.connect(autocommit=True) as session:
        yield Listener(session, channel)


def wait_for_rows(
    database: Database,
    channel: str,
    read: Callable[[Connection], list[Record]],
    seconds: float,
) -> list[Record]:
    """Return rows as soon as `read` finds any, or [] after `seconds`.

    Listens first and reads then, so that a row that arrives in between is found. Rows without a notification,
    such as those of a process that has died, are found by reading again.
    """
    deadline = time.monotonic() + seconds
    with listening(database, channel) as listener:
        while not (rows := read(listener.session)):
            left = deadline - time.monotonic()
            if left <= 0:
                return []
            listener.wait(min(left, REREAD_SECONDS))
        return rows


def _listen(channel: str) -> sql.Composed:
    return sql.SQL("LISTEN {}").format(sql.Identifier(channel))
