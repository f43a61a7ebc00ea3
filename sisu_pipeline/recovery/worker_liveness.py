"""Who is alive: a worker holds an advisory lock in a session of its own; the database frees it at its death.

There is no heartbeat to write: a killed process, a lost host (by TCP keep-alive) and a restarted Postgres all
end the session. A frozen process keeps its session but falls silent on it, and is given up after
`recovery.SILENCE_SECONDS`. A worker that loses its session stops at once, since others take its work over.
"""

import os
import threading
from collections.abc import Callable
from contextlib import suppress

import psycopg

from resources import connection_fence
from resources.connection_fence import Fence
from resources.database import Connection, Database
from sql import query

SPEAK_SECONDS = 0.5
"""How often a worker says something on its session; recovery knows a frozen one by its silence."""


def announce(database: Database, executor_id: str, application_name: str, lost: Callable[[], None]) -> None:
    """Hold the worker's lock until this process ends; calls `lost` when the session is gone.

    Returns once the lock is held, before the worker takes any work. From then on no connection is taken
    without that session (`resources/connection_fence.py`).
    """
    held = threading.Event()
    arguments = (database, executor_id, application_name, held, lost)
    thread = threading.Thread(target=_hold, args=arguments, daemon=True, name="liveness")
    thread.start()
    held.wait()


def stop_at_once() -> None:
    """What a worker does when it is no longer known to be alive: nothing more, not even clean up."""
    os._exit(3)


def _hold(
    database: Database,
    executor_id: str,
    application_name: str,
    held: threading.Event,
    lost: Callable[[], None],
) -> None:
    with suppress(psycopg.Error), database.connect(autocommit=True) as session:
        answer = session.execute(query("segments.announce_worker"), {"executor_id": executor_id}).fetchone()
        if answer is not None and answer["held"]:
            connection_fence.put_up(Fence(answer["pid"], answer["started"], application_name, lost))
            held.set()
            _speak(session)
    held.set()
    lost()


def _speak(session: Connection) -> None:
    """Until the session breaks, which raises."""
    while True:
        # Returns early only when the session breaks; a quiet session is a healthy one.
        for _ in session.notifies(timeout=SPEAK_SECONDS, stop_after=1):
            pass
        session.execute(query("segments.speak"))
