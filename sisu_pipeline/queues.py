"""The DBOS side of the queues: their names, limits and scopes, the client, and the schema (design §7)."""

from functools import cache

from dbos import DBOS, DBOSClient

from resources.database import Database
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


@cache
def client(database: Database) -> DBOSClient:
    """The process's client, which enqueues and never runs a workflow."""
    return DBOSClient(
        system_database_url=database.sqlalchemy_url("psycopg"),
        dbos_system_schema=SCHEMA,
        application_name=APPLICATION,
        lazy=True,
    )


def register(name: QueueName, settings: Settings) -> None:
    """Declare a queue in the database, with this deployment's limits.

    Scope of each limit: concurrency, per partition over all workers; worker concurrency, per worker
    process; rate, starts per partition. A limit of 0 is no limit. An intent worker process executes one
    segment at a time whatever the setting says: two Dagster runs in one process dead-lock.
    """
    intents = name is QueueName.INTENT
    concurrency = settings.intent_queue_concurrency if intents else settings.sbx_queue_concurrency
    rate = settings.intent_queue_rate_limit_per_period if intents else settings.sbx_queue_rate_limit_per_period
    period = settings.intent_queue_rate_limit_period_sec if intents else settings.sbx_queue_rate_limit_period_sec
    DBOS.register_queue(
        name,
        worker_concurrency=1 if intents else settings.sbx_queue_worker_concurrency,
        partition_concurrency=concurrency or None,
        partition_limiter={"limit": rate, "period": period} if rate else None,
        polling_interval_sec=POLL_SECONDS,
        on_conflict="always_update",
    )
