"""Waiting for task results: one query at a time serves every waiting shard of a run."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from resources.database import Database
from sisu_pipeline.store import runs, tasks
from sisu_pipeline.workflow.run_failure import RunEnded

_SHORTEST_PAUSE_S = 0.04
# A poll may cost at most this share of the time: large runs are looked at less often.
_SHARE = 10


class Board:
    """What is known of one run's results; its waiters take turns to look."""

    def __init__(self, database: Database, workflow_id: str) -> None:
        self.waiters = 0
        self._database = database
        self._workflow_id = workflow_id
        self._finished: list[range] = []
        self._next_look = 0.0
        self._lock = threading.Lock()

    def wait(self, positions: range) -> None:
        """Return when every position has its result. Raises RunEnded when the run ends first."""
        while not self._has(positions):
            with self._lock:
                self._look(positions)

    def _has(self, positions: range) -> bool:
        return any(known.start <= positions.start and positions.stop <= known.stop for known in self._finished)

    def _look(self, positions: range) -> None:
        if self._has(positions):
            return
        pause = self._next_look - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        started = time.monotonic()
        with self._database.connect() as connection:
            run = runs.get(connection, self._workflow_id)
            self._finished = tasks.finished_positions(connection, run.id)
        if run.status.is_terminal and not self._has(positions):
            raise RunEnded(f"run {run.id} is {run.status}; its tasks are not waited for")
        took = time.monotonic() - started
        self._next_look = started + max(_SHORTEST_PAUSE_S, took * _SHARE)


_boards: dict[str, Board] = {}
_boards_lock = threading.Lock()


def wait(database: Database, workflow_id: str, positions: range) -> None:
    """Return when every position of the run's fan-out has its result."""
    with _board(database, workflow_id) as board:
        board.wait(positions)


@contextmanager
def _board(database: Database, workflow_id: str) -> Iterator[Board]:
    with _boards_lock:
        board = _boards.setdefault(workflow_id, Board(database, workflow_id))
        board.waiters += 1
    try:
        yield board
    finally:
        with _boards_lock:
            board.waiters -= 1
            if board.waiters == 0:
                _boards.pop(workflow_id, None)
