"""Recovery: work of dead and frozen workers is requeued, and runs without a Dagster run are canceled.

What waits for a version with a declared successor is handed over to it (`store/queues/versions.py`).

It is safe to run in many processes at once: the recovery sensor runs it, and so does every worker, since the
daemon may be dead too. A worker is replaced when its session has ended, or when it has executed nothing on it for
`INACTIVITY_SECONDS` by the clock of the observing process, so that a wrong clock replaces no worker. What delays
the observer itself, as an overloaded machine does, delays workers too: it does not count as their silence.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from resources.database import Connection
from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.domain.status import IllegalTransition
from sisu_pipeline.queueing import dbos_queues
from sisu_pipeline.recovery.observed_time import OWN_CLOCK
from sisu_pipeline.recovery.parking import is_parked
from sisu_pipeline.store.queues import segments, versions, worker_deaths, worker_sessions
from sisu_pipeline.store.queues.worker_sessions import BusyWorker
from sisu_pipeline.workflow import commands
from sisu_pipeline.workflow.dependencies import Dependencies

INACTIVITY_SECONDS = 3.5
CHECK_INTERVAL_SECONDS = 1.0
_TERMINATION_SECONDS = 2.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class RequeuedWork:
    """A workflow of a dead worker that was put back on its queue."""

    executor_id: str
    workflow_id: str
    queue_name: str


@dataclass(frozen=True)
class _Silence:
    """How long a worker has executed nothing since `active_at`, as of the look at `looked_at` of the own clock."""

    active_at: datetime | None
    looked_at: float
    seconds: float = 0.0


@dataclass
class WorkerMonitor:
    """One process's record of when each busy worker was active last, by this process's clock."""

    dependencies: Dependencies
    clock: Callable[[], float] = OWN_CLOCK
    _silences: dict[str, _Silence] = field(default_factory=dict)

    def recover(self) -> list[RequeuedWork]:
        """Requeue the work of dead and frozen workers, and hand over what waits for versions with a successor."""
        with self.dependencies.database.connect() as connection:
            versions.hand_over(connection)
            busy = worker_sessions.busy(connection)
        names = {worker.executor_id for worker in busy}
        self._silences = {name: silence for name, silence in self._silences.items() if name in names}
        requeued: list[RequeuedWork] = []
        for worker in busy:
            if worker.holder is None or self._is_inactive(worker):
                requeued += requeue_work(self.dependencies, worker.executor_id)
        return requeued

    def _is_inactive(self, worker: BusyWorker) -> bool:
        now = self.clock()
        silence = self._silences.get(worker.executor_id)
        if silence is None or silence.active_at != worker.active_at:
            silence = _Silence(worker.active_at, now)
        else:
            # Of a longer time between two looks, the rest is this process's own delay.
            passed = min(now - silence.looked_at, CHECK_INTERVAL_SECONDS)
            silence = _Silence(worker.active_at, now, silence.seconds + passed)
        self._silences[worker.executor_id] = silence
        return silence.seconds > INACTIVITY_SECONDS


def requeue_work(dependencies: Dependencies, executor_id: str) -> list[RequeuedWork]:
    """Fence a worker off and requeue its work; returns nothing when another process is doing so.

    Its session is terminated first, which refuses it any new connection. Then its other connections are
    terminated, so that nothing it has begun is committed and none of its locks is left. A segment whose workers die
    again and again is parked.
    """
    with dependencies.database.connect(autocommit=True) as session:
        worker_sessions.terminate_lock_holder(session, executor_id)
        if not _take_lock(session, executor_id):
            return []
        _terminate_connections(session, executor_id)
        held = worker_sessions.held_workflows(session, executor_id)
        crash_point("recovery.give_back.before")
        requeued = []
        for work in held:
            if work.is_segment and is_parked(dependencies, work.workflow_id, executor_id):
                continue
            if dbos_queues.requeue(dependencies.database, work.workflow_id, executor_id):
                requeued.append(RequeuedWork(executor_id, work.workflow_id, work.queue_name))
                crash_point("recovery.give_back.after")
        return requeued


def record_stop(dependencies: Dependencies, executor_id: str) -> None:
    """Record that a worker stops and leaves the segments it executes: requeueing them does not count as a death."""
    with dependencies.database.connect() as connection:
        for work in worker_sessions.held_workflows(connection, executor_id):
            worker_deaths.record_stop(connection, work.workflow_id, executor_id)


def cancel_removed(dependencies: Dependencies) -> list[str]:
    """Cancel every run whose Dagster run an operator has deleted or forced to end; returns workflow ids.

    Nothing tells the run launcher about either, and without its Dagster run a run cannot continue.
    """
    with dependencies.database.connect() as connection:
        removed = segments.removed(connection)
    for run in removed:
        how = "was deleted" if run.is_deleted else "was canceled"
        with dependencies.database.connect() as connection, suppress(IllegalTransition):
            reason = f"its Dagster run {run.dagster_run_id} {how}"
            commands.cancel_from_dagster(connection, run.workflow_id, reason)
    return [run.workflow_id for run in removed]


def _take_lock(session: Connection, executor_id: str) -> bool:
    """Take a terminated worker's lock; returns False when another process holds it."""
    deadline = time.monotonic() + _TERMINATION_SECONDS
    while not worker_sessions.try_lock(session, executor_id).held:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _terminate_connections(session: Connection, executor_id: str) -> None:
    deadline = time.monotonic() + _TERMINATION_SECONDS
    while worker_sessions.terminate_connections(session, executor_id):
        if time.monotonic() > deadline:
            return
        time.sleep(_POLL_SECONDS)
