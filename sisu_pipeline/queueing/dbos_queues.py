"""The DBOS side of the queues: their names, limits and scopes, the client, and the schema.

Private DBOS API is used here and in `fan_out.py` only.
"""

import time
from dataclasses import dataclass
from typing import Any

from dbos import DBOS, DBOSClient, Queue
from dbos._dbos import _get_dbos_instance

from resources import connection_fence
from resources.database import Database
from resources.process_cache import once
from sisu_pipeline.contracts.intent import QueueName
from sisu_pipeline.settings import Settings

APPLICATION = "sisu"
SCHEMA = "dbos"
SEGMENT_WORKFLOW = "run_segment"
TASK_WORKFLOW = "sandbox_task"
QUESTION_WORKFLOW = "plan_question"
POLL_SECONDS = 0.05


def migrate(database: Database) -> None:
    """Create or upgrade the tables of DBOS. Idempotent."""
    DBOS.migrate(database.sqlalchemy_url("psycopg"), schema=SCHEMA)


@once
def client(database: Database) -> DBOSClient:
    """The process's DBOS client, which enqueues workflows and executes none."""
    return DBOSClient(
        system_database_url=database.sqlalchemy_url("psycopg"),
        dbos_system_schema=SCHEMA,
        application_name=APPLICATION,
        lazy=True,
    )


def requeue(database: Database, workflow_id: str, executor_id: str) -> bool:
    """Put a workflow that a dead worker held back on its queue; False when another worker already has it."""
    return client(database)._sys_db.reenqueue_for_recovery(workflow_id, [executor_id], QueueName.CONTROL)


def executing() -> list[str]:
    """The ids of the workflows this worker executes."""
    return _get_dbos_instance()._active_workflows_set.activeList()


def cancel(database: Database, workflow_ids: list[str]) -> None:
    """Remove workflows that wait on a queue from it."""
    if workflow_ids:
        client(database).cancel_workflows(workflow_ids)


def fence_connections(database: Database) -> None:
    """Put a worker's own queue connections behind its fence (`resources/connection_fence.py`)."""
    connection_fence.guard(client(database)._sys_db.engine)
    # DBOS retries its statements when a connection breaks, except the batch insert: that error would fail the run.
    connection_fence.watch(client(database)._sys_db.engine)
    connection_fence.guard(_get_dbos_instance()._sys_db.engine)


def stop_claiming() -> None:
    """Stop this worker's queue threads: it takes no new workflow and continues the ones it executes."""
    for event in _get_dbos_instance().background_thread_stop_events:
        event.set()


def cache_limits(seconds: float = 1.0) -> None:
    """Cache a queue's limits in this worker's queue thread for some seconds.

    DBOS reads the limits at every poll, twenty times a second, which was a seventh of an idle worker's CPU. A
    change of the limits takes effect when the cached ones expire.
    """
    system_database = _get_dbos_instance()._sys_db
    read = system_database.get_queue
    known: dict[str, tuple[float, Queue | None]] = {}

    def get_queue(name: str, **options: Any) -> Queue | None:
        now = time.monotonic()
        if name not in known or now - known[name][0] > seconds:
            known[name] = (now, read(name, **options))
        return known[name][1]

    system_database.get_queue = get_queue  # type: ignore[method-assign]


@dataclass(frozen=True)
class _Limits:
    """The limits of a queue. 0: no limit."""

    per_worker: int
    """Executions of one worker process."""
    per_worker_and_partition: int
    per_partition: int = 0
    """Executions over all workers."""
    starts: int = 0
    """Starts of one partition per period."""
    period_s: float = 0


def register(database: Database, name: QueueName, settings: Settings, workers: int = 1) -> None:
    """Register a queue with this deployment's limits in the database, before a worker takes work from it.

    Scope of each limit: concurrency counts per partition, over all workers; worker concurrency counts per worker
    process; the rate counts the starts of tasks per partition. 0 means unlimited. The starts of intents are limited
    before the queue (`sensors/intent_sensor.py`), so that work behind a gate never waits for that limit. An intent
    worker process executes one segment at a time regardless of the settings: two Dagster runs in one process
    deadlock. `workers` is the number of processes that serve the queue.

    The limit per partition and worker makes the workers serve the partitions in turn. A fifth of the intent workers
    and a tenth of a sandbox worker's places are left to other partitions, because work may take hours.
    """
    limits = _limits(name, settings, workers)
    client(database).register_queue(
        name,
        worker_concurrency=limits.per_worker,
        partition_concurrency=limits.per_partition or None,
        partition_worker_concurrency=limits.per_worker_and_partition,
        partition_limiter={"limit": limits.starts, "period": limits.period_s} if limits.starts else None,
        polling_interval_sec=POLL_SECONDS,
        on_conflict="always_update",
    )


def _limits(name: QueueName, settings: Settings, workers: int) -> _Limits:
    if name is QueueName.COMPILE:
        return _Limits(settings.oc_concurrency, settings.oc_concurrency)
    if name is QueueName.INTENT:
        most, reserved = settings.intent_queue_concurrency, workers // 5
        return _Limits(1, 1, min(most or workers, workers - reserved) if reserved else most)
    places, most = settings.sbx_queue_worker_concurrency, settings.sbx_queue_concurrency
    share = places - places // 10
    return _Limits(
        places,
        min(share, most) if most else share,  # DBOS refuses a limit per worker above the one over all workers.
        most,
        settings.sbx_queue_rate_limit_per_period,
        settings.sbx_queue_rate_limit_period_sec,
    )
