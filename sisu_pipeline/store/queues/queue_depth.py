"""Work on the DBOS queues, by state and by application version, beside the workers that can take it."""

from collections import Counter
from dataclasses import dataclass

from resources.database import Connection
from sisu_pipeline.contracts.intent import QueueName
from sisu_pipeline.domain.worker_names import version_label
from sisu_pipeline.store.queues import engine_tables, worker_sessions
from sisu_pipeline.store.records import fetch_all


@dataclass(frozen=True)
class QueuedWork:
    """Work of one state on one queue; times in milliseconds since 1970."""

    queue_name: str
    status: str
    workflow_count: int
    oldest_created_at: int | None
    newest_created_at: int | None


@dataclass(frozen=True)
class VersionedWork:
    """Work of one application version on one queue; only workers of that version take it."""

    app_version: str
    queue_name: str
    enqueued: int
    pending: int


@dataclass(frozen=True)
class Backlog:
    """Work on all queues, by state and by application version."""

    by_state: list[QueuedWork]
    by_version: list[VersionedWork]


@dataclass(frozen=True)
class QueueState:
    """Work and workers of one application version on one queue.

    `version` is a version label (`domain/worker_names.py`) when there are only workers.
    """

    queue: str
    version: str
    enqueued: int
    pending: int
    workers: int

    @property
    def is_stranded(self) -> bool:
        """True when work waits for a version that no worker has."""
        return self.enqueued > 0 and self.workers == 0


def backlog(connection: Connection) -> Backlog:
    """The work on all queues; empty before DBOS has created its tables."""
    if not engine_tables.exist(connection, engine_tables.WORKFLOWS):
        return Backlog([], [])
    by_state = fetch_all(connection, "queues.by_state", QueuedWork)
    return Backlog(by_state, fetch_all(connection, "queues.by_version", VersionedWork))


def by_version(connection: Connection) -> list[VersionedWork]:
    """Work by application version and queue; empty before DBOS has created its tables."""
    if not engine_tables.exist(connection, engine_tables.WORKFLOWS):
        return []
    return fetch_all(connection, "queues.by_version", VersionedWork)


def queue_states(connection: Connection) -> tuple[QueueState, ...]:
    """Work and workers by queue and version; one of the two may be absent."""
    workers = Counter((worker.queue, worker.version_label) for worker in worker_sessions.connected(connection))
    work = {(each.queue_name, version_label(each.app_version)): each for each in by_version(connection)}
    states = [
        _state(queue, label, work.get((queue, label)), workers[queue, label]) for queue, label in {*workers, *work}
    ]
    return tuple(sorted(states, key=lambda state: (state.queue, state.version)))


def workers_of(states: tuple[QueueState, ...], queue: str, version: str) -> int:
    """How many worker processes of this version serve the queue."""
    label = version_label(version)
    return sum(state.workers for state in states if state.queue == queue and version_label(state.version) == label)


def workers_by_queue(states: tuple[QueueState, ...], version: str) -> tuple[int, int]:
    """How many worker processes of this version serve `intentQ`, and how many serve `sbxQ`."""
    return workers_of(states, QueueName.INTENT, version), workers_of(states, QueueName.SANDBOX, version)


def _state(queue: str, label: str, work: VersionedWork | None, workers: int) -> QueueState:
    if work is None:
        return QueueState(queue, label, 0, 0, workers)
    return QueueState(queue, work.app_version, work.enqueued, work.pending, workers)
