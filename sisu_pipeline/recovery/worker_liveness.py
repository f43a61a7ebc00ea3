"""Liveness of workers: a worker holds an advisory lock in a session of its own, which ends with the process.

Postgres releases the lock when the process is killed, when its host is lost (by TCP keep-alive), and when Postgres
itself restarts. A frozen process keeps its session but executes nothing on it; recovery takes its work over after
`run_recovery.INACTIVITY_SECONDS`. A worker that loses its session stops at once, since others take its work over.
"""

import os
import threading
from collections.abc import Callable
from contextlib import suppress

import psycopg

from resources import connection_fence
from resources.connection_fence import Fence
from resources.database import Connection, Database
from sisu_pipeline.store.queues import worker_sessions

ACTIVITY_SECONDS = 0.5
"""How often a worker executes a statement on its session, by which recovery knows that it is not frozen."""


def announce(database: Database, executor_id: str, application_name: str, lost: Callable[[], None]) -> None:
    """Hold the worker's lock until this process ends; `lost` is called when its session ends before.

    Returns once the lock is held, before the worker claims any work. From then on no connection is taken without
    that session (`resources/connection_fence.py`).
    """
    held = threading.Event()
    arguments = (database, executor_id, application_name, held, lost)
    thread = threading.Thread(target=_hold, args=arguments, daemon=True, name="liveness")
    thread.start()
    held.wait()


def stop_at_once() -> None:
    """End the process without any cleanup, because other workers take its work over."""
    os._exit(3)


def _hold(
    database: Database,
    executor_id: str,
    application_name: str,
    held: threading.Event,
    lost: Callable[[], None],
) -> None:
    with suppress(psycopg.Error), database.connect(autocommit=True) as session:
        lock = worker_sessions.try_lock(session, executor_id)
        if lock.held:
            connection_fence.activate(Fence(lock.pid, lock.started, application_name, lost))
            held.set()
            _keep_active(session)
    held.set()
    lost()


def _keep_active(session: Connection) -> None:
    """Execute a statement now and then until the session breaks, which raises."""
    while True:
        # No notification ever comes: this returns early only when the session breaks.
        for _ in session.notifies(timeout=ACTIVITY_SECONDS, stop_after=1):
            pass
        worker_sessions.keep_active(session)
