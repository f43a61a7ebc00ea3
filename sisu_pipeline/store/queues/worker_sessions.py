"""Sessions of workers: a worker is alive while a session of its process holds the worker's advisory lock."""

from dataclasses import dataclass
from datetime import datetime

from resources.database import Connection
from sisu_pipeline.contracts.intent import QueueName
from sisu_pipeline.domain import worker_names
from sisu_pipeline.domain.worker_names import WorkerName
from sisu_pipeline.store.records import execute, fetch_all, fetch_column, fetch_one


@dataclass(frozen=True)
class WorkerLock:
    """An attempt to take a worker's lock: whether the session `pid`, started at `started`, holds it now."""

    held: bool
    pid: int
    started: datetime


@dataclass(frozen=True)
class BusyWorker:
    """A worker that holds queue workflows.

    `holder` is the backend of the session that holds its lock, None when the worker is dead. `active_at` is the
    time of that session's last statement.
    """

    executor_id: str
    holder: int | None
    active_at: datetime | None


@dataclass(frozen=True)
class HeldWorkflow:
    """A queue workflow that a worker has claimed and not finished."""

    workflow_id: str
    queue_name: str

    @property
    def is_segment(self) -> bool:
        """Whether it is a segment of an intent or the Dagster run of a job."""
        return self.queue_name == QueueName.INTENT


def try_lock(session: Connection, executor_id: str) -> WorkerLock:
    """Take a worker's lock unless another session holds it. The lock is released at the end of the session."""
    return fetch_one(session, "workers.try_lock", WorkerLock, {"executor_id": executor_id})


def keep_active(session: Connection) -> None:
    """Execute a statement, so that the session shows recent activity."""
    execute(session, "workers.keep_active")


def terminate_lock_holder(session: Connection, executor_id: str) -> None:
    """Terminate the session that holds a worker's lock: the worker's own, or that of a recovery that is frozen.

    A recovery that is still active keeps its session.
    """
    names = worker_names.connections_of(executor_id)
    execute(session, "workers.terminate_lock_holder", {"executor_id": executor_id, "names": names})


def terminate_connections(session: Connection, executor_id: str) -> int:
    """Terminate every connection of a worker; returns how many were still there."""
    return execute(session, "workers.terminate_connections", {"names": worker_names.connections_of(executor_id)})


def busy(connection: Connection) -> list[BusyWorker]:
    """The workers, alive or dead, that hold queue workflows."""
    return fetch_all(connection, "workers.busy", BusyWorker)


def held_workflows(connection: Connection, executor_id: str) -> list[HeldWorkflow]:
    """The queue workflows that a worker holds, the oldest first."""
    return fetch_all(connection, "workers.held_workflows", HeldWorkflow, {"executor_id": executor_id})


def lock_limits(connection: Connection, queue: QueueName) -> None:
    """Let no other worker write the limits of a queue until the end of the transaction."""
    execute(connection, "workers.lock_limits", {"queue": queue})


def connected(connection: Connection) -> list[WorkerName]:
    """The worker processes that are connected to the database."""
    names = fetch_column(connection, "workers.connected", {"names": worker_names.ANY_WORKER})
    return [worker for name in names if (worker := worker_names.parse(name)) is not None]
