"""ExecuteST's fan-out: shards of tasks. Each task is a workflow on `sbxQ` whose id is its task key.

This is the only module that enqueues on `sbxQ`. The portable profile has no queues: there, the step of a shard
executes the shard's tasks.
"""

import asyncio
import re
from collections.abc import Sequence

from dbos._enqueue_options import build_enqueue_status
from dbos._serialization import DefaultSerializer
from dbos._sys_db import WorkflowStatusInternal

from resources.database import Database
from sisu_pipeline.contracts.intent import QueueName
from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.queueing import dbos_queues, fan_out_wait, task_service
from sisu_pipeline.steps.execute import Task, shards
from sisu_pipeline.store.runs import Run
from sisu_pipeline.workflow.dependencies import Dependencies
from sisu_pipeline.workflow.task_planning import plan_run, plan_tasks

_SERIALIZER = DefaultSerializer()
_BATCH = 250
_SHARD = re.compile(r"^tasks_(\d+)_(\d+)$")


def start(dependencies: Dependencies, workflow_id: str, dagster_run_id: str | None = None) -> list[str]:
    """Enqueue every task of the run on `sbxQ` and return the names of its shards. Idempotent."""
    run, tasks = plan_run(dependencies, workflow_id, dagster_run_id=dagster_run_id)
    if dependencies.queues_tasks:
        crash_point("fan_out.enqueue.before")
        enqueue(dependencies.database, run, tasks)
        crash_point("fan_out.enqueue.after")
    return [f"tasks_{shard.start}_{shard.stop - 1}" for shard in shards(len(tasks))]


def run_shard(dependencies: Dependencies, workflow_id: str, shard: str) -> None:
    """Wait until every task of the shard has its result. Raises RunEnded when the run ends first."""
    positions = positions_in(shard)
    if dependencies.queues_tasks:
        fan_out_wait.wait(dependencies.database, workflow_id, positions)
    else:
        tasks = plan_tasks(dependencies, workflow_id)[positions.start : positions.stop]
        asyncio.run(task_service.run_here(workflow_id, tasks))


def positions_in(shard: str) -> range:
    """The positions of a shard's tasks, from the shard's name. Raises ValueError for any other text."""
    match = _SHARD.match(shard)
    if match is None:
        raise ValueError(f"{shard!r} is not the name of a shard, such as tasks_0_127")
    return range(int(match[1]), int(match[2]) + 1)


def enqueue(database: Database, run: Run, tasks: Sequence[Task]) -> None:
    """Enqueue tasks, each batch in one transaction, so workers start on the first batch while the last is written.

    A task that is on the queue already stays as it is: an interrupted fan-out is enqueued again from its start.
    """
    client = dbos_queues.client(database)
    for start in range(0, len(tasks), _BATCH):
        # The private batch insert of DBOS, which its Kafka consumer uses: one statement per batch, not per task.
        client._sys_db.init_workflows([_status(run, task) for task in tasks[start : start + _BATCH]])


def _status(run: Run, task: Task) -> WorkflowStatusInternal:
    _, status = build_enqueue_status(
        {
            "queue_name": QueueName.SANDBOX,
            "workflow_name": dbos_queues.TASK_WORKFLOW,
            "workflow_id": task.key,
            "queue_partition_key": run.queue_partition_key,
            "priority": run.priority,
            "app_version": run.app_version,
        },
        _SERIALIZER,
        (run.workflow_id, task.position, run.retry_count),
        {},
    )
    status["application_name"] = dbos_queues.APPLICATION
    status["parent_workflow_id"] = run.workflow_id
    return status
