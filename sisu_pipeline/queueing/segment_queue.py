"""Segments on `intentQ`: what one worker does in one go (design §2). The only place that enqueues there."""

from dataclasses import dataclass

from resources.database import Database, Row
from sisu_pipeline.contracts.intent import QueueName
from sisu_pipeline.domain.identity import segment_workflow_id
from sisu_pipeline.queueing import dbos_queues
from sisu_pipeline.store.runs import Run

# Jobs that are no intents (submit_intent, approve_plan) run on the same workers, in a partition of their own.
CONTROL_PARTITION = "control"


@dataclass(frozen=True)
class Segment:
    """One segment on the queue: a Dagster run to start or resume, in a queue workflow of its own.

    `segment_workflow_id` is the intent's id for the first segment only; later segments append their number.
    """

    segment_workflow_id: str
    dagster_run_id: str
    queue_partition_key: str
    priority: int
    app_version: str


def of_run(run: Run) -> Segment:
    """The current segment of a run that a Dagster run owns."""
    assert run.dagster_run_id is not None
    return Segment(
        segment_workflow_id(run.workflow_id, run.segment),
        run.dagster_run_id,
        run.queue_partition_key,
        run.priority,
        run.app_version,
    )


def of_decided(row: Row) -> Segment:
    """The segment that goes on after a decision, from a row of `runs.decided_on`."""
    return Segment(
        segment_workflow_id(row["workflow_id"], row["segment"]),
        row["dagster_run_id"],
        row["queue_partition_key"],
        row["priority"],
        row["app_version"],
    )


def of_job(dagster_run_id: str, app_version: str) -> Segment:
    """A Dagster run that is no intent's."""
    return Segment(f"job/{dagster_run_id}", dagster_run_id, CONTROL_PARTITION, 1, app_version)


def enqueue(database: Database, segment: Segment) -> None:
    """Ask for a segment; asking twice is one workflow, since its id is the segment's."""
    dbos_queues.client(database).enqueue(
        {
            "queue_name": QueueName.INTENT,
            "workflow_name": dbos_queues.SEGMENT_WORKFLOW,
            "workflow_id": segment.segment_workflow_id,
            "queue_partition_key": segment.queue_partition_key,
            "priority": segment.priority,
            "app_version": segment.app_version,
        },
        segment.dagster_run_id,
    )
