"""Questions to coding agents on `compileQ`. This is the only module that enqueues there."""

from collections.abc import Sequence

from resources.database import Database
from sisu_pipeline.contracts.intent import QueueName
from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.queueing import dbos_queues, queue_priority
from sisu_pipeline.store import plan_questions, runs
from sisu_pipeline.store.runs import Run


def enqueue(database: Database, run: Run, op_key: str) -> None:
    """Enqueue a run's question. Idempotent: its workflow has the key of the question as its id."""
    dbos_queues.client(database).enqueue(
        {
            "queue_name": QueueName.COMPILE,
            "workflow_name": dbos_queues.QUESTION_WORKFLOW,
            "workflow_id": op_key,
            "queue_partition_key": run.queue_partition_key,
            "priority": queue_priority.of_work(run.priority, run.segment),
            "app_version": run.app_version,
        },
        op_key,
    )


def enqueue_rounds(database: Database, run_ids: Sequence[str] | None = None) -> list[str]:
    """Enqueue the questions of requested changes that no queue holds, of these runs or of all; returns their keys.

    The request itself only records its question.
    """
    with database.connect() as connection:
        found = [
            (question.op_key, runs.get(connection, question.run_id))
            for question in plan_questions.unqueued(connection, run_ids)
        ]
    for op_key, run in found:
        crash_point("round.enqueue.before")
        enqueue(database, run, op_key)
        crash_point("round.enqueue.after")
    return [op_key for op_key, _ in found]
