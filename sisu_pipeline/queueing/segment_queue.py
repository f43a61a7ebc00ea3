"""Segments on `intentQ`. This is the only module that enqueues there.

A segment is the part of a Dagster run that one worker executes without a pause: from the start or a gate to the
next gate or the end.
"""

from dataclasses import dataclass

from resources.database import Database
from sisu_pipeline.contracts.intent import QueueName
from sisu_pipeline.domain.identity import segment_workflow_id
from sisu_pipeline.queueing import dbos_queues, queue_priority
from sisu_pipeline.store.queues.outbox import DecidedRun
from sisu_pipeline.store.runs import Run

# Jobs without an intent (submit_intent, approve_plan) share the workers of intents, in a partition of their own.
CONTROL_PARTITION = "control"


@dataclass(frozen=True)
class SegmentRequest:
    """What a worker gets from the queue: the Dagster run to start or resume, and the intent it works on.

    `workflow_id` is the intent's id, None for a job without an intent.
    """

    workflow_id: str | None
    dagster_run_id: str


@dataclass(frozen=True)
class Segment:
    """A segment with its place on the queue.

    `segment_workflow_id` is the id of its queue workflow. Only for the first segment it is the intent's id.
    `priority` is the queue's (`queueing/queue_priority.py`).
    """

    segment_workflow_id: str
    request: SegmentRequest
    queue_partition_key: str
    priority: int
    app_version: str


def of_run(run: Run) -> Segment:
    """The current segment of a run that a Dagster run owns."""
    assert run.dagster_run_id is not None
    return Segment(
        segment_workflow_id(run.workflow_id, run.segment),
        SegmentRequest(run.workflow_id, run.dagster_run_id),
        run.queue_partition_key,
        queue_priority.of_work(run.priority, run.segment),
        run.app_version,
    )


def of_decided(run: DecidedRun) -> Segment:
    """The segment that continues a run after a decision."""
    assert run.dagster_run_id is not None
    return Segment(
        segment_workflow_id(run.workflow_id, run.segment),
        SegmentRequest(run.workflow_id, run.dagster_run_id),
        run.queue_partition_key,
        queue_priority.of_work(run.priority, run.segment),
        run.app_version,
    )


def of_job(dagster_run_id: str, app_version: str, *, decides: bool = False) -> Segment:
    """The whole Dagster run of a job without an intent; `decides`: it records a decision or an answer."""
    priority = queue_priority.DECISION if decides else queue_priority.SUBMISSION
    return _of_job(SegmentRequest(None, dagster_run_id), app_version, priority)


def of_ended_intent(workflow_id: str, dagster_run_id: str, app_version: str) -> Segment:
    """A Dagster run of an intent whose run has ended: its steps return their stored results."""
    return _of_job(SegmentRequest(workflow_id, dagster_run_id), app_version, queue_priority.REPLAY)


def enqueue(database: Database, segment: Segment) -> None:
    """Enqueue a segment. Idempotent: its queue workflow has the segment's id."""
    dbos_queues.client(database).enqueue(
        {
            "queue_name": QueueName.INTENT,
            "workflow_name": dbos_queues.SEGMENT_WORKFLOW,
            "workflow_id": segment.segment_workflow_id,
            "queue_partition_key": segment.queue_partition_key,
            "priority": segment.priority,
            "app_version": segment.app_version,
        },
        segment.request.workflow_id,
        segment.request.dagster_run_id,
    )


def _of_job(request: SegmentRequest, app_version: str, priority: int) -> Segment:
    return Segment(f"job/{request.dagster_run_id}", request, CONTROL_PARTITION, priority, app_version)
