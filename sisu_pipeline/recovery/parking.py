"""Parking of segments whose workers die again and again: the intent ends, its neighbors continue.

A worker process executes one segment at a time, so its death is attributed to that segment. Deaths count as long as
the intent makes no progress between them: a restart of Postgres or a kill in a lab does not add up.
"""

import logging
from collections.abc import Callable
from contextlib import suppress

from sisu_pipeline.domain.errors import NotFound
from sisu_pipeline.domain.identity import run_id_of
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.queueing import dbos_queues
from sisu_pipeline.store.queues import segments, worker_deaths
from sisu_pipeline.workflow.dependencies import Dependencies
from sisu_pipeline.workflow.run_failure import end_run

_EXECUTED = "executed"
"""Recorded in place of a worker for a segment that ended without the end of its run."""

logger = logging.getLogger(__name__)


def is_parked(dependencies: Dependencies, segment_workflow_id: str, executor_id: str = _EXECUTED) -> bool:
    """Record that a worker died, or that the segment ended without effect; park it after the last time allowed."""
    with dependencies.database.connect() as connection:
        deaths = worker_deaths.record(connection, segment_workflow_id, executor_id)
    if deaths < dependencies.max_worker_deaths:
        return False
    _park(dependencies, segment_workflow_id, deaths)
    return True


def _park(dependencies: Dependencies, segment_workflow_id: str, deaths: int) -> None:
    """End the intent, then take the segment off its queue; interrupted in between, recovery requeues the segment.

    `recovery_sensor` ends the Dagster run.
    """
    error = (
        f"{worker_deaths.PARKED}{deaths} workers in a row ended while they executed {segment_workflow_id}, without "
        "progress in between; their logs have the cause"
    )
    logger.error("%s", error)
    run_id = run_id_of(worker_deaths.subject_of(segment_workflow_id))
    with suppress(NotFound):
        remedy = f". When it is removed, release the run with `sisu run retry {run_id}`"
        end_run(dependencies, run_id, RunStatus.RETRIES_EXCEEDED, error + remedy)
    dbos_queues.cancel(dependencies.database, [segment_workflow_id])


def end_parked_dagster_runs(dependencies: Dependencies, end: Callable[[str, str], None]) -> None:
    """Call `end` with the id of each Dagster run that parking has left open, and the reason."""
    with dependencies.database.connect() as connection:
        left_open = segments.parked_dagster_runs(connection)
    for parked in left_open:
        end(parked.dagster_run_id, parked.reason)
