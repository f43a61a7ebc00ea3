"""Recovery: work of dead and frozen workers is requeued, and segments that were lost are enqueued again.

It is safe to run in many processes at once: the recovery sensor runs it, and so does every worker, since the
daemon may be dead too. A worker is replaced when its session has ended, or when it has executed nothing on it for
`INACTIVITY_SECONDS` by the clock of the observing process, so that a wrong clock replaces no worker.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from resources.database import Connection, Database
from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.domain.identity import run_id_of
from sisu_pipeline.domain.status import IllegalTransition, RunStatus
from sisu_pipeline.queueing import dbos_queues, segment_queue
from sisu_pipeline.store import runs
from sisu_pipeline.store.queues import segments, worker_sessions
from sisu_pipeline.store.queues.segments import LostSegment
from sisu_pipeline.store.queues.worker_sessions import BusyWorker
from sisu_pipeline.workflow import commands
from sisu_pipeline.workflow.dependencies import Dependencies
from sisu_pipeline.workflow.run_failure import end_run, ending_permanently

INACTIVITY_SECONDS = 3.5
CHECK_INTERVAL_SECONDS = 1.0
_TERMINATION_SECONDS = 2.0
_POLL_SECONDS = 0.02
_AT_WORK = frozenset({RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.REPAIRING})


@dataclass(frozen=True)
class RequeuedWork:
    """A workflow of a dead worker that was put back on its queue."""

    executor_id: str
    workflow_id: str
    queue_name: str


@dataclass
class WorkerMonitor:
    """One process's record of when each busy worker was active last, by this process's clock."""

    database: Database
    _activity: dict[str, tuple[datetime | None, float]] = field(default_factory=dict)

    def recover(self) -> list[RequeuedWork]:
        """Requeue the work of dead and frozen workers."""
        with self.database.connect() as connection:
            busy = worker_sessions.busy(connection)
        names = {worker.executor_id for worker in busy}
        self._activity = {name: activity for name, activity in self._activity.items() if name in names}
        requeued: list[RequeuedWork] = []
        for worker in busy:
            if worker.holder is None or self._is_inactive(worker):
                requeued += requeue_work(self.database, worker.executor_id)
        return requeued

    def _is_inactive(self, worker: BusyWorker) -> bool:
        now = time.monotonic()
        active_at, seen_at = self._activity.setdefault(worker.executor_id, (worker.active_at, now))
        if active_at != worker.active_at:
            self._activity[worker.executor_id] = (worker.active_at, now)
            return False
        return now - seen_at > INACTIVITY_SECONDS


def requeue_work(database: Database, executor_id: str) -> list[RequeuedWork]:
    """Fence a worker off and requeue its work; returns nothing when another process is doing so.

    Its session is terminated first, which refuses it any new connection. Then its other connections are
    terminated, so that nothing it has begun is committed and none of its locks is left.
    """
    with database.connect(autocommit=True) as session:
        worker_sessions.terminate_lock_holder(session, executor_id)
        if not _take_lock(session, executor_id):
            return []
        _terminate_connections(session, executor_id)
        held = worker_sessions.held_workflows(session, executor_id)
        crash_point("recovery.give_back.before")
        requeued = []
        for work in held:
            if dbos_queues.requeue(database, work.workflow_id, executor_id):
                requeued.append(RequeuedWork(executor_id, work.workflow_id, work.queue_name))
                crash_point("recovery.give_back.after")
        return requeued


def resume_lost(dependencies: Dependencies) -> list[str]:
    """Enqueue the segment of every run that should be executed and that no queue holds; returns workflow ids.

    A process may die between claiming a run and enqueueing its segment, or a segment may end without the end of
    its run, which then goes on with the next segment. A Dagster run that did not end with its intent is executed
    once more: its steps return their stored outputs, and it ends.
    """
    with dependencies.database.connect() as connection:
        lost = segments.lost(connection)
        unclaimed = segments.unclaimed(connection)
        still_open = segments.open_dagster_runs(connection)
    for found in unclaimed:
        run_id = run_id_of(found.workflow_id)
        with (
            ending_permanently(dependencies, run_id, "claim its Dagster run"),
            dependencies.database.connect() as connection,
        ):
            runs.claim(connection, found.workflow_id, found.dagster_run_id)
    never_enqueued = [LostSegment(found.workflow_id, found.segment, is_executed=False) for found in unclaimed]
    enqueued = []
    for segment in [*lost, *never_enqueued]:
        run = _next(dependencies.database, segment)
        if run is not None:
            with ending_permanently(dependencies, run.id, f"enqueue segment {run.segment}"):
                segment_queue.enqueue(dependencies.database, segment_queue.of_run(run))
                enqueued.append(segment.workflow_id)
    for ended in still_open:
        segment_queue.enqueue(
            dependencies.database,
            segment_queue.of_ended_intent(ended.workflow_id, ended.dagster_run_id, ended.app_version),
        )
        enqueued.append(ended.workflow_id)
    return enqueued


def end_orphans(dependencies: Dependencies, cause: Callable[[str], str]) -> list[str]:
    """End every run whose Dagster run has failed, so that it can be seen and retried; returns workflow ids.

    A failure in a step ends the run itself. This is for failures around steps and for launches that never
    succeeded. `cause` returns the reason for the failure of a Dagster run, by its id.
    """
    with dependencies.database.connect() as connection:
        orphans = segments.orphaned(connection)
    for orphan in orphans:
        error = f"Dagster run {orphan.dagster_run_id} failed around the steps: {cause(orphan.dagster_run_id)}"
        end_run(dependencies, orphan.id, RunStatus.RETRIES_EXCEEDED, error)
    return [orphan.workflow_id for orphan in orphans]


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


def _next(database: Database, lost: LostSegment) -> runs.Run | None:
    """The run of a lost segment, with its next segment as the current one if the lost one was executed.

    None when the run has moved on since it was read. Its next segment is then enqueued by the decision on its
    gate: if it were enqueued here, it would find the gate closed, and the decision would find the same segment
    executed.
    """
    with database.connect() as connection:
        run = runs.lock(connection, lost.workflow_id)
        if run.segment != lost.segment or run.status not in _AT_WORK:
            return None
        return runs.count_segment(connection, run) if lost.is_executed else run


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
