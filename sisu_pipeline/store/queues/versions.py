"""Application versions: their unfinished work, their workers, and the declared successors that take work over.

A run keeps the version it was started with, and its work is enqueued for that version. What waits on a queue for a
version with a successor is handed over to the last successor: by the declaration, and from then on by recovery
(`recovery/run_recovery.py`), because gates, retries and dead workers bring more of it.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from resources.database import Connection
from sisu_pipeline.contracts.intent import QueueName
from sisu_pipeline.contracts.operation import VersionAdoption
from sisu_pipeline.domain.errors import AdoptionRefused
from sisu_pipeline.domain.worker_names import version_label
from sisu_pipeline.store.queues import engine_tables, queue_depth
from sisu_pipeline.store.queues.queue_depth import QueueState
from sisu_pipeline.store.records import execute, fetch_all, fetch_first, fetch_one, fetch_value


@dataclass(frozen=True)
class Adoption:
    """A declaration: workers of `new_version` finish the work of `old_version`."""

    old_version: str
    new_version: str
    adopted_by: str
    channel: str
    reason: str
    adopted_at: datetime


@dataclass(frozen=True)
class Adopted:
    """The result of a declaration: whether it was there already, and how many workflows were handed over now."""

    adoption: Adoption
    is_replay: bool
    handed_over: int


@dataclass(frozen=True)
class VersionState:
    """A version at one moment: its unfinished runs, its work on the queues, its worker processes, its successor.

    `version` is a version label (`domain/worker_names.py`) when there are only workers.
    """

    version: str
    unfinished_runs: int
    enqueued: int
    pending: int
    workers: int
    adoption: Adoption | None


@dataclass(frozen=True)
class _Unfinished:
    app_version: str
    runs: int


def adopt(connection: Connection, request: VersionAdoption, adopted_by: str, channel: str) -> Adopted:
    """Declare that workers of the new version finish the work of the old one, and hand over what waits.

    Idempotent: a repeated declaration returns the first one. Raises AdoptionRefused.
    """
    execute(connection, "versions.lock")
    old, new = request.old_version, request.new_version
    first = fetch_first(connection, "versions.adoption", Adoption, {"old_version": old})
    if first is None:
        _check(connection, request)
        row = {
            "old_version": old,
            "new_version": new,
            "adopted_by": adopted_by,
            "channel": channel,
            "reason": request.reason,
        }
        adoption = fetch_one(connection, "versions.record", Adoption, row)
    elif first.new_version != new:
        raise AdoptionRefused(
            f"version {old} has the successor {first.new_version} already, which is final: "
            f"declare a successor of {first.new_version} instead"
        )
    else:
        adoption = first
    return Adopted(adoption, first is not None, hand_over(connection))


def hand_over(connection: Connection) -> int:
    """Hand over what waits for versions that have a successor; returns how many workflows."""
    if not fetch_value(connection, "versions.are_adopted"):
        return 0
    if not engine_tables.exist(connection, engine_tables.WORKFLOWS):
        return 0
    return execute(connection, "versions.hand_over")


def serving(connection: Connection, version: str) -> str:
    """The version whose workers take the work of a version: its last successor, or itself."""
    successor: str | None = fetch_value(connection, "versions.last_successor", {"version": version})
    return version if successor is None else successor


def unserved(connection: Connection) -> dict[str, int]:
    """The number of unfinished runs by version, for the versions whose work no intent worker takes."""
    queues = queue_depth.queue_states(connection)
    return {
        each.app_version: each.runs
        for each in fetch_all(connection, "versions.unfinished", _Unfinished)
        if not queue_depth.workers_of(queues, QueueName.INTENT, serving(connection, each.app_version))
    }


def states(connection: Connection) -> list[VersionState]:
    """Every version that has unfinished runs, work on a queue, a worker or a part in a declaration, by name."""
    queues = queue_depth.queue_states(connection)
    unfinished = {each.app_version: each.runs for each in fetch_all(connection, "versions.unfinished", _Unfinished)}
    adoptions = {each.old_version: each for each in fetch_all(connection, "versions.adoptions", Adoption)}
    named = {*unfinished, *adoptions, *(each.new_version for each in adoptions.values())}
    labels = {version_label(name) for name in named}
    named |= {queue.version for queue in queues if version_label(queue.version) not in labels}
    return [_state(name, queues, unfinished.get(name, 0), adoptions.get(name)) for name in sorted(named)]


def _state(
    version: str, queues: tuple[QueueState, ...], unfinished_runs: int, adoption: Adoption | None
) -> VersionState:
    counts: Counter[str] = Counter()
    for queue in queues:
        if version_label(queue.version) == version_label(version):
            counts.update(enqueued=queue.enqueued, pending=queue.pending, workers=queue.workers)
    return VersionState(
        version, unfinished_runs, counts["enqueued"], counts["pending"], counts["workers"], adoption
    )


def _check(connection: Connection, request: VersionAdoption) -> None:
    """Raises AdoptionRefused when the declaration is impossible, or its versions are mistaken."""
    old, new = request.old_version, request.new_version
    if old == new:
        raise AdoptionRefused(f"version {old} cannot succeed itself: name another version as the new one")
    if not _had_worker(connection, new):
        raise AdoptionRefused(
            f"no worker of version {new} has ever started: check the name, or start its workers first"
        )
    if not (_had_worker(connection, old) or fetch_value(connection, "versions.has_run", {"version": old})):
        raise AdoptionRefused(f"unknown version {old}: no run and no worker has had it")
    if fetch_value(connection, "versions.succeeds", {"version": new, "successor": old}):
        raise AdoptionRefused(
            f"version {old} succeeds version {new} already, so {new} cannot succeed it: "
            "start workers of a version with another name, and adopt by that one"
        )
    if not request.while_running:
        _check_idle(queue_depth.queue_states(connection), old)


def _check_idle(queues: tuple[QueueState, ...], version: str) -> None:
    of_version = [queue for queue in queues if version_label(queue.version) == version_label(version)]
    busy = [queue for queue in of_version if queue.workers and queue.pending]
    if busy:
        executed = sum(queue.pending for queue in busy)
        workers = sum(queue.workers for queue in busy)
        raise AdoptionRefused(
            f"{workers} worker(s) of version {version} are running and execute {executed} workflow(s): stop them, "
            "wait until they have finished, or adopt while they run (--while-running, whileRunning)"
        )


def _had_worker(connection: Connection, version: str) -> bool:
    if not engine_tables.exist(connection, engine_tables.VERSIONS):
        return False
    return bool(fetch_value(connection, "versions.had_worker", {"version": version}))
