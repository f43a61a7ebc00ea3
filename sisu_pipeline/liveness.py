"""Who is alive: a worker holds an advisory lock in a session of its own; the database frees it at its death.

There is no heartbeat to tune: a killed process, a lost host (by TCP keep-alive) and a restarted Postgres all
end the session. A worker that loses its session stops at once, since others may have taken its work over.
"""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psycopg

from resources.database import Database
from sisu_pipeline import queues
from sql import query

CHECK_SECONDS = 1.0


@dataclass(frozen=True)
class Recovered:
    """Work of a dead worker, given back to its queue."""

    executor_id: str
    workflow_id: str
    queue_name: str


def announce(database: Database, executor_id: str, lost: Callable[[], None]) -> None:
    """Hold the worker's lock until this process ends; calls `lost` when the session is gone.

    Returns once the lock is held, before the worker takes any work.
    """
    held = threading.Event()
    thread = threading.Thread(target=_hold, args=(database, executor_id, held, lost), daemon=True, name="liveness")
    thread.start()
    held.wait()


def stop_at_once() -> None:
    """What a worker does when it is no longer known to be alive: nothing more, not even clean up."""
    os._exit(3)


def recover(database: Database) -> list[Recovered]:
    """Give the work of dead workers back to its queues. Safe to run anywhere, at once, by many."""
    recovered: list[Recovered] = []
    with database.connect() as connection:
        executors = [row["executor_id"] for row in connection.execute(query("segments.busy_executors"))]
    for executor_id in executors:
        with database.connect(autocommit=True) as session:
            answer = session.execute(query("segments.announce_worker"), {"executor_id": executor_id}).fetchone()
            if answer is None or not answer["held"]:
                continue  # it is alive
            rows = session.execute(query("segments.held_workflows"), {"executor_id": executor_id}).fetchall()
            for row in rows:
                if queues.give_back(database, row["workflow_uuid"], executor_id):
                    recovered.append(Recovered(executor_id, row["workflow_uuid"], row["queue_name"]))
    return recovered


def _hold(database: Database, executor_id: str, held: threading.Event, lost: Callable[[], None]) -> None:
    with suppress(psycopg.Error), database.connect(autocommit=True) as session:
        answer = session.execute(query("segments.announce_worker"), {"executor_id": executor_id}).fetchone()
        if answer is None or not answer["held"]:
            held.set()
            lost()
            return
        held.set()
        while True:
            # Returns early only when the session breaks; a quiet session is a healthy one.
            for _ in session.notifies(timeout=CHECK_SECONDS, stop_after=1):
                pass
            session.execute("SELECT 1")
    held.set()
    lost()
