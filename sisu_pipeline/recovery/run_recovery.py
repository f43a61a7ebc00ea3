"""Recovery: what a dead or frozen worker held goes back to its queue; what nobody was asked for is asked for.

Safe to run anywhere, at once, by many: the recovery sensor does, and so does every worker, since the daemon
may be among the dead. A worker is given up when its session is gone, or when it has said nothing on it for
`SILENCE_SECONDS` of the observer's own clock (a step of anybody's clock gives nobody up).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from resources.database import Connection, Database, Row
from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.queueing import dbos_queues, segment_queue
from sisu_pipeline.store import runs
from sisu_pipeline.workflow.dependencies import Dependencies
from sisu_pipeline.workflow.run_failure import end_run
from sql import query

SILENCE_SECONDS = 3.5
LOOK_EVERY_SECONDS = 1.0
_END_SECONDS = 2.0
_AT_WORK = frozenset({RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.REPAIRING})


@dataclass(frozen=True)
class Recovered:
    """Work of a dead worker, given back to its queue."""

    executor_id: str
    workflow_id: str
    queue_name: str


@dataclass
class Observer:
    """What one process has seen of the workers: who spoke last when, by this process's clock."""

    database: Database
    _heard: dict[str, tuple[datetime, float]] = field(default_factory=dict)

    def recover(self) -> list[Recovered]:
        """Give the work of dead and frozen workers back to its queues."""
        with self.database.connect() as connection:
            rows = connection.execute(query("segments.busy_executors")).fetchall()
        busy = {row["executor_id"] for row in rows}
        self._heard = {name: heard for name, heard in self._heard.items() if name in busy}
        recovered: list[Recovered] = []
        for row in rows:
            if row["holder"] is None or self._is_silent(row):
                recovered += give_up(self.database, row["executor_id"])
        return recovered

    def _is_silent(self, row: Row) -> bool:
        now = time.monotonic()
        spoke, heard = self._heard.setdefault(row["executor_id"], (row["spoke_at"], now))
        if spoke != row["spoke_at"]:
            self._heard[row["executor_id"]] = (row["spoke_at"], now)
            return False
        return now - heard > SILENCE_SECONDS


def give_up(database: Database, executor_id: str) -> list[Recovered]:
    """Fence a worker off and give back what it held; nothing when somebody else is doing so.

    Its session is ended first: from then on it is refused every connection. Then all its other ones are
    ended, so that nothing it had begun can be committed, and no lock of its is left.
    """
    with database.connect(autocommit=True) as session:
        session.execute(
            query("segments.end_worker"), {"executor_id": executor_id, "name": _sessions_of(executor_id)}
        )
        if not _take_lock(session, executor_id):
            return []
        _end_sessions(session, executor_id)
        rows = session.execute(query("segments.held_workflows"), {"executor_id": executor_id}).fetchall()
        crash_point("recovery.give_back.before")
        recovered = []
        for row in rows:
            if dbos_queues.requeue(database, row["workflow_uuid"], executor_id):
                recovered.append(Recovered(executor_id, row["workflow_uuid"], row["queue_name"]))
                crash_point("recovery.give_back.after")
        return recovered


def resume_lost(dependencies: Dependencies) -> list[str]:
    """Ask for the segment of every run that should be at work and that no queue holds; returns workflow ids.

    A process may die between claiming a run and enqueueing its segment, or a segment may end without its
    run having ended: then the next one goes on. A Dagster run whose intent has ended, and that nobody told so, is
    executed once more: its steps answer from their rows, and it ends.
    """
    with dependencies.database.connect() as connection:
        lost = connection.execute(query("segments.lost")).fetchall()
        unlaunched = connection.execute(query("segments.unlaunched")).fetchall()
        late = connection.execute(query("segments.untold")).fetchall()
    for row in unlaunched:
        with dependencies.database.connect() as connection:
            runs.claim(connection, row["workflow_id"], row["dagster_run_id"])
    asked = []
    for row in [*lost, *unlaunched]:
        run = _next(dependencies.database, row)
        if run is not None:
            segment_queue.enqueue(dependencies.database, segment_queue.of_run(run))
            asked.append(row["workflow_id"])
    for row in late:
        segment_queue.enqueue(
            dependencies.database,
            segment_queue.of_ended_intent(row["workflow_id"], row["dagster_run_id"], row["app_version"]),
        )
        asked.append(row["workflow_id"])
    return asked


def end_orphans(dependencies: Dependencies, cause: Callable[[str], str]) -> list[str]:
    """End every run whose Dagster run has failed beneath it, so that a person sees it and can retry; workflow ids.

    What fails in a step ends the run itself; this is for failures around steps, and for a launch that never worked.
    `cause` says why a Dagster run failed, by its id.
    """
    with dependencies.database.connect() as connection:
        orphans = connection.execute(query("segments.orphaned")).fetchall()
    for row in orphans:
        error = f"Dagster run {row['dagster_run_id']} failed around the steps: {cause(row['dagster_run_id'])}"
        end_run(dependencies, row["id"], RunStatus.RETRIES_EXCEEDED, error)
    return [row["workflow_id"] for row in orphans]


def _next(database: Database, row: Row) -> runs.Run | None:
    """The run, counting on to its next segment when the current one has been executed.

    None when it went on since it was looked at: its next segment is a decision's to ask for. Asked for here it
    would find the gate closed, and the decision, asking for the same segment, would find it executed.
    """
    with database.connect() as connection:
        run = runs.lock(connection, row["workflow_id"])
        if run.segment != row["segment"] or run.status not in _AT_WORK:
            return None
        if row["is_executed"]:
            return runs.count_segment(connection, run)
        return run


def _take_lock(session: Connection, executor_id: str) -> bool:
    deadline = time.monotonic() + _END_SECONDS
    while True:
        answer = session.execute(query("segments.announce_worker"), {"executor_id": executor_id}).fetchone()
        if answer is not None and answer["held"]:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)


def _end_sessions(session: Connection, executor_id: str) -> None:
    deadline = time.monotonic() + _END_SECONDS
    while session.execute(query("segments.end_sessions"), {"name": _sessions_of(executor_id)}).fetchall():
        if time.monotonic() > deadline:
            return
        time.sleep(0.02)


def _sessions_of(executor_id: str) -> str:
    """The LIKE pattern of a worker's session names (`worker_process._application_name`) after the prefix."""
    return f"%{executor_id[-8:]} %"
