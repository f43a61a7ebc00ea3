"""Questions to coding agents on `compileQ`. This is the only module that enqueues there."""

from resources.database import Database
from sisu_pipeline.contracts.intent import QueueName
from sisu_pipeline.queueing import dbos_queues
from sisu_pipeline.store.runs import Run


def enqueue(database: Database, run: Run, op_key: str) -> None:
    """Enqueue a run's question. Idempotent: its workflow has the key of the question as its id."""
    dbos_queues.client(database).enqueue(
        {
            "queue_name": QueueName.COMPILE,
            "workflow_name": dbos_queues.QUESTION_WORKFLOW,
            "workflow_id": op_key,
            "queue_partition_key": run.queue_partition_key,
            "priority": run.priority,
            "app_version": run.app_version,
        },
        op_key,
    )
