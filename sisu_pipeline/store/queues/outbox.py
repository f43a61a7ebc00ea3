"""The outbox: rows of `app.runs` that wait for a sensor, which continues their runs or cleans up after them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from resources.database import Connection
from sisu_pipeline.contracts.configuration.queue_settings import StartLimit
from sisu_pipeline.contracts.gate import Decision
from sisu_pipeline.store.records import execute, fetch_all, fetch_column, fetch_value


@dataclass(frozen=True)
class UnrequestedRun:
    """A run for which no Dagster run has been requested."""

    id: str
    workflow_id: str
    recipe_id: str
    lane: str
    retry_count: int


@dataclass(frozen=True)
class DecidedRun:
    """A run with a decision or an answer that has not been acted on completely.

    `waits`: its next segment is to be enqueued. `unreported`: Dagster does not show the decision yet. The fields
    of the decision are None when only a question was answered.
    """

    id: str
    workflow_id: str
    segment: int
    next_action: str | None
    dagster_run_id: str | None
    queue_partition_key: str
    priority: int
    app_version: str
    decision: Decision | None
    decided_by: str | None
    decided_at: datetime | None
    notes: str | None
    plan_sha256: str | None
    waits: bool
    unreported: bool


@dataclass(frozen=True)
class CanceledRun:
    """A canceled run that has not been cleaned up; `error` holds who canceled it, and why."""

    id: str
    workflow_id: str
    dagster_run_id: str | None
    error: str | None


def unrequested(connection: Connection, limit: int, starts: StartLimit | None = None) -> list[UnrequestedRun]:
    """Runs without a Dagster run: partitions in turn, the most urgent of each first, as far as `starts` allows."""
    values = {
        "limit": limit,
        "most_starts": None if starts is None else starts.most,
        "period_s": None if starts is None else starts.period_s,
    }
    return fetch_all(connection, "runs.unrequested", UnrequestedRun, values)


def decided(connection: Connection, limit: int) -> list[DecidedRun]:
    """Runs with a decision or an answer to act on. Reads every run that waits at a gate."""
    return decided_on(connection, fetch_column(connection, "runs.decided", {"limit": limit}), limit)


def decided_on(connection: Connection, run_ids: Collection[str], limit: int) -> list[DecidedRun]:
    """At most `limit` of these runs that have a decision or an answer to act on; partitions take turns."""
    return fetch_all(connection, "runs.decided_on", DecidedRun, {"run_ids": sorted(run_ids), "limit": limit})


def to_clean_up(connection: Connection, limit: int) -> list[CanceledRun]:
    """Canceled runs that have not been cleaned up, the oldest cancellation first."""
    return fetch_all(connection, "runs.to_clean_up", CanceledRun, {"limit": limit})


def mark_cleaned_up(connection: Connection, run_id: str) -> None:
    """Record that nothing of a canceled run is left."""
    execute(connection, "runs.mark_cleaned_up", {"id": run_id})


def canceled_lately(connection: Connection) -> list[str]:
    """The ids of the runs that were canceled within the last hour."""
    return fetch_column(connection, "runs.canceled_lately")


def mark_reported(connection: Connection, run_ids: Sequence[str]) -> None:
    """Record that Dagster shows the decisions on these runs."""
    execute(connection, "runs.mark_reported", {"run_ids": list(run_ids)})


def mark_requested(connection: Connection, workflow_ids: Sequence[str]) -> None:
    """Record that the next segments of these runs were requested; one that does not start is requested again."""
    execute(connection, "runs.mark_requested", {"workflow_ids": list(workflow_ids)})


def mark_started(connection: Connection, workflow_ids: Sequence[str]) -> None:
    """Record that the Dagster runs of these runs were requested; the first time counts as the intent's start."""
    execute(connection, "runs.mark_started", {"workflow_ids": list(workflow_ids)})


def seconds_since_request(connection: Connection, run_id: str) -> float | None:
    """The age of the request for a run's current segment, in seconds; None when it was never requested."""
    age: float | None = fetch_value(connection, "doctor.request_age", {"run_id": run_id})
    return age
