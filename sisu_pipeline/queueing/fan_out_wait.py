"""Waiting for task results: one query at a time serves all waiting shards of a run."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from resources.database import Database
from sisu_pipeline.store import runs, tasks
from sisu_pipeline.workflow.run_failure import RunEnded

_MIN_POLL_INTERVAL_S = 0.04
# A query takes at most a tenth of the time, so large runs are polled less often.
_INTERVALS_PER_QUERY = 10


class _FinishedTasks:
    """The known results of one run. Its waiters take turns to poll."""

    def __init__(self, database: Database, workflow_id: str) -> None:
        self.waiters = 0
        self._database = database
        self._workflow_id = workflow_id
        self._finished: list[range] = []
        self._next_poll = 0.0
        self._lock = threading.Lock()

    def wait(self, positions: range) -> None:
        """Wait until every position has its result. Raises RunEnded when the run ends first."""
        while not self._has(positions):
            with self._lock:
                self._poll(positions)

    def _has(self, positions: range) -> bool:
        return any(known.start <= positions.start and positions.stop <= known.stop for known in self._finished)

    def _poll(self, positions: range) -> None:
        if self._has(positions):
            return
        pause = self._next_poll - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        started = time.monotonic()
        with self._database.connect() as connection:
            run = runs.get(connection, self._workflow_id)
            self._finished = tasks.finished_positions(connection, run.id)
        if run.status.is_terminal and not self._has(positions):
            raise RunEnded(f"run {run.id} is {run.status}: its remaining tasks will not finish")
        took = time.monotonic() - started
        self._next_poll = started + max(_MIN_POLL_INTERVAL_S, took * _INTERVALS_PER_QUERY)


_waited_for: dict[str, _FinishedTasks] = {}
_waited_for_lock = threading.Lock()


def wait(database: Database, workflow_id: str, positions: range) -> None:
    """Wait until every position of the run's fan-out has its result. Raises RunEnded when the run ends first."""
    with _finished_tasks(database, workflow_id) as finished:
        finished.wait(positions)


@contextmanager
def _finished_tasks(database: Database, workflow_id: str) -> Iterator[_FinishedTasks]:
    """The results of a run that all its waiters in this process share."""
    with _waited_for_lock:
        finished = _waited_for.setdefault(workflow_id, _FinishedTasks(database, workflow_id))
        finished.waiters += 1
    try:
        yield finished
    finally:
        with _waited_for_lock:
            finished.waiters -= 1
            if finished.waiters == 0:
                _waited_for.pop(workflow_id, None)
