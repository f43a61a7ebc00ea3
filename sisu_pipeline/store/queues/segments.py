"""Segments of intents: the lock that one segment at a time holds, and the search for segments that were lost."""

from dataclasses import dataclass

from resources.database import Connection
from sisu_pipeline.store.records import execute, fetch_all, fetch_column, fetch_value


@dataclass(frozen=True)
class LostSegment:
    """A run whose current segment is in no queue: never enqueued, or executed without the run having ended."""

    workflow_id: str
    segment: int
    is_executed: bool


@dataclass(frozen=True)
class UnclaimedRun:
    """A run that no Dagster run owns although `dagster_run_id` was launched for it."""

    workflow_id: str
    segment: int
    dagster_run_id: str


@dataclass(frozen=True)
class OpenDagsterRun:
    """A Dagster run that is still open although its intent has ended."""

    workflow_id: str
    app_version: str
    dagster_run_id: str


@dataclass(frozen=True)
class OrphanedRun:
    """A run that has not ended although its Dagster run has failed."""

    id: str
    workflow_id: str
    dagster_run_id: str


@dataclass(frozen=True)
class ParkedDagsterRun:
    """A Dagster run that is open although its segment is parked."""

    dagster_run_id: str
    reason: str


@dataclass(frozen=True)
class RemovedRun:
    """A run that has not ended although its Dagster run was deleted, or else canceled."""

    workflow_id: str
    dagster_run_id: str
    is_deleted: bool


def lock(session: Connection, workflow_id: str) -> None:
    """Take the intent's lock; waits for the segment that holds it. It is released at the end of the session."""
    execute(session, "segments.lock", {"workflow_id": workflow_id})


def try_lock(session: Connection, workflow_id: str) -> bool:
    """Take the intent's lock unless a segment holds it; returns whether the session holds it now."""
    return bool(fetch_value(session, "segments.try_lock", {"workflow_id": workflow_id}))


def holder(connection: Connection, workflow_id: str) -> int | None:
    """The backend process that holds the intent's lock; None when no segment of it is executed."""
    pid: int | None = fetch_value(connection, "segments.holder", {"workflow_id": workflow_id})
    return pid


def is_executing(connection: Connection, workflow_id: str) -> bool:
    """Whether a worker has claimed a segment of the intent and not finished it."""
    return fetch_value(connection, "segments.executing", {"workflow_id": workflow_id}) is not None


def waiting_work(connection: Connection, workflow_id: str) -> list[str]:
    """The ids of the intent's segments and tasks that wait on a queue."""
    return fetch_column(connection, "segments.waiting_work", {"workflow_id": workflow_id})


def lost(connection: Connection) -> list[LostSegment]:
    """Segments of runs that are not at a gate and not at their end, and that no queue holds."""
    return fetch_all(connection, "segments.lost", LostSegment)


def unclaimed(connection: Connection) -> list[UnclaimedRun]:
    """Runs whose launcher died before it made the launched Dagster run their owner."""
    return fetch_all(connection, "segments.unclaimed", UnclaimedRun)


def open_dagster_runs(connection: Connection) -> list[OpenDagsterRun]:
    """Dagster runs that did not end with their intent, and that no queue holds."""
    return fetch_all(connection, "segments.open_dagster_runs", OpenDagsterRun)


def parked_dagster_runs(connection: Connection) -> list[ParkedDagsterRun]:
    """Open Dagster runs of parked intents and jobs."""
    return fetch_all(connection, "segments.parked_dagster_runs", ParkedDagsterRun)


def removed(connection: Connection) -> list[RemovedRun]:
    """Runs whose Dagster run was deleted or canceled in Dagster."""
    return fetch_all(connection, "segments.removed", RemovedRun)


def orphaned(connection: Connection) -> list[OrphanedRun]:
    """Runs whose Dagster run has failed around their steps."""
    return fetch_all(connection, "segments.orphaned", OrphanedRun)
