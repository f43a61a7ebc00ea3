"""Workers that ended before the segment they executed, and the runs that are parked because of it."""

from dataclasses import dataclass
from datetime import datetime

from resources.database import Connection
from sisu_pipeline.store.records import execute, fetch_all, fetch_value

PARKED = "parked: "
"""The beginning of the error of a parked run."""


@dataclass(frozen=True)
class ParkedRun:
    """A run whose workers died, and how it ended."""

    id: str
    error: str
    parked_at: datetime


def record(connection: Connection, segment_workflow_id: str, executor_id: str) -> int:
    """Record the death of a worker that executed a segment; returns how many in a row died without progress.

    Idempotent. A worker that stopped on SIGTERM has recorded its end itself, which does not count.
    """
    subject = _insert(connection, segment_workflow_id, executor_id, is_counted=True)
    return int(fetch_value(connection, "deaths.in_a_row", {"subject": subject}))


def record_stop(connection: Connection, segment_workflow_id: str, executor_id: str) -> None:
    """Record that a worker stops on SIGTERM before the end of the segment it executes."""
    _insert(connection, segment_workflow_id, executor_id, is_counted=False)


def parked(connection: Connection, limit: int) -> list[ParkedRun]:
    """Parked runs that were not released, the last one first."""
    return fetch_all(connection, "deaths.parked", ParkedRun, {"limit": limit})


def subject_of(segment_workflow_id: str) -> str:
    """What a segment belongs to: its intent, or itself if it is a job's."""
    kind, _, _ = segment_workflow_id.partition("/")
    return segment_workflow_id if kind == "job" else kind


def _insert(connection: Connection, segment_workflow_id: str, executor_id: str, *, is_counted: bool) -> str:
    subject = subject_of(segment_workflow_id)
    row = {"segment_workflow_id": segment_workflow_id, "executor_id": executor_id, "subject": subject}
    execute(connection, "deaths.record", {**row, "is_counted": is_counted})
    return subject
