"""The DBOS side of the queues: their names, limits and scopes, the client, and the schema (design §7)."""

import time
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
POLL_SECONDS = 0.05


def migrate(database: Database) -> None:
    """Let DBOS make or upgrade its own tables. Safe to repeat."""
    DBOS.migrate(database.sqlalchemy_url("psycopg"), schema=SCHEMA)


@once
def client(database: Database) -> DBOSClient:
    """The process's client, which enqueues and never runs a workflow."""
    return DBOSClient(
        system_database_url=database.sqlalchemy_url("psycopg"),
        dbos_system_schema=SCHEMA,
        application_name=APPLICATION,
        lazy=True,
    )


def give_back(database: Database, workflow_id: str, executor_id: str) -> bool:
    """Put a workflow that a dead worker held back on its queue; False when a live one has it already."""
    return client(database)._sys_db.reenqueue_for_recovery(workflow_id, [executor_id], QueueName.CONTROL)


def executing() -> list[str]:
    """The workflows that this worker executes."""
    return _get_dbos_instance()._active_workflows_set.activeList()


def cancel(database: Database, workflow_ids: list[str]) -> None:
    """Take workflows that wait on a queue off it."""
    if workflow_ids:
        client(database).cancel_workflows(workflow_ids)


def guard(database: Database) -> None:
    """Let a worker's own queue connections pass its fence (`resources/connection_fence.py`)."""
    connection_fence.guard(client(database)._sys_db.engine)
    # Unlike the rest of DBOS, its batch insert is not repeated when its connection breaks: it would fail the run.
    connection_fence.watch(client(database)._sys_db.engine)
    connection_fence.guard(_get_dbos_instance()._sys_db.engine)


def remember_limits(seconds: float = 1.0) -> None:
    """Let a worker's queue thread re-read its queue's limits once a second instead of at every poll.

    DBOS reads them twenty times a second at our polling interval, which was a seventh of an idle worker's
    CPU; a change of limits is seen a second later.
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


def register(database: Database, name: QueueName, settings: Settings) -> None:
    """Declare a queue in the database, with this deployment's limits: before a worker of it takes anything.

    Scope of each limit: concurrency, per partition over all workers; worker concurrency, per worker
    process; rate, starts per partition. A limit of 0 is no limit. An intent worker process executes one
    segment at a time whatever the setting says: two Dagster runs in one process dead-lock.
    """
    intents = name is QueueName.INTENT
    concurrency = settings.intent_queue_concurrency if intents else settings.sbx_queue_concurrency
    rate = settings.intent_queue_rate_limit_per_period if intents else settings.sbx_queue_rate_limit_per_period
    period = settings.intent_queue_rate_limit_period_sec if intents else settings.sbx_queue_rate_limit_period_sec
    client(database).register_queue(
        name,
        worker_concurrency=1 if intents else settings.sbx_queue_worker_concurrency,
        partition_concurrency=concurrency or None,
        partition_limiter={"limit": rate, "period": period} if rate else None,
        polling_interval_sec=POLL_SECONDS,
        on_conflict="always_update",
    )
