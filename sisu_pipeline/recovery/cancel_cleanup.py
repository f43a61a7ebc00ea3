"""Cleanup after a cancellation: patches are rolled back, queued work is dropped and the Dagster run is ended.

A cancellation itself only writes the status. The cleanup runs where the workspace and the engines are accessible,
and after the segment that was executed has released its lock, so that no step patches a file behind the rollback.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.domain.changes.workspace_files import PathNotAllowed
from sisu_pipeline.queueing import dbos_queues
from sisu_pipeline.store import runs
from sisu_pipeline.store.queues import outbox, segments
from sisu_pipeline.store.queues.outbox import CanceledRun
from sisu_pipeline.workflow import patching, run_failure
from sisu_pipeline.workflow.dependencies import Dependencies

BATCH = 20
_NO_REASON = "canceled"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CleanedUp:
    """A canceled run that is cleaned up: the number of patches rolled back and of workflows dropped."""

    run_id: str
    patches: int
    dropped: int


def clean_up_canceled(dependencies: Dependencies, end_dagster_run: Callable[[str, str], None]) -> list[CleanedUp]:
    """Clean up every canceled run whose segment has released its lock.

    `end_dagster_run` is called with a Dagster run id and the reason of the cancellation. Patches that cannot be
    rolled back stay, and the run's error names them: such a run delays no other.
    """
    with dependencies.database.connect() as connection:
        canceled = outbox.to_clean_up(connection, BATCH)
    return [done for run in canceled if (done := _clean_up(dependencies, run, end_dagster_run)) is not None]


def _clean_up(
    dependencies: Dependencies, run: CanceledRun, end_dagster_run: Callable[[str, str], None]
) -> CleanedUp | None:
    with dependencies.database.connect(autocommit=True) as session:
        # A segment whose session was lost has lost its lock, but it executes until it sees that the run has ended.
        if not segments.try_lock(session, run.workflow_id) or _is_executing(dependencies, run.workflow_id):
            return None
        crash_point("closing.roll_back.before")
        patches, error = _roll_back(dependencies, run)
        crash_point("closing.roll_back.after")
        dropped = _drop_waiting(dependencies, run.workflow_id)
        if run.dagster_run_id is not None:
            end_dagster_run(run.dagster_run_id, error)
        crash_point("closing.mark.before")
        outbox.mark_cleaned_up(session, run.id)
    return CleanedUp(run.id, patches, dropped)


def _roll_back(dependencies: Dependencies, run: CanceledRun) -> tuple[int, str]:
    """Roll the run's patches back; returns how many, and the run's error, which records a failed rollback."""
    workspace = patching.workspace_of(dependencies.workspaces, run.id)
    error = run.error or _NO_REASON
    try:
        return patching.roll_back(dependencies.database, workspace, run.id), error
    except (patching.PatchMismatch, PathNotAllowed) as failure:
        logger.warning("run %s: its patches cannot be rolled back: %s", run.id, failure)
        error = run_failure.rollback_error(failure, error)
        with dependencies.database.connect() as connection:
            runs.set_error(connection, run.id, error)
        return 0, error


def _is_executing(dependencies: Dependencies, workflow_id: str) -> bool:
    if not dependencies.queues_tasks:
        return False
    with dependencies.database.connect() as connection:
        return segments.is_executing(connection, workflow_id)


def _drop_waiting(dependencies: Dependencies, workflow_id: str) -> int:
    """Take the segments and tasks of an intent off their queues; returns how many."""
    if not dependencies.queues_tasks:
        return 0
    with dependencies.database.connect() as connection:
        waiting = segments.waiting_work(connection, workflow_id)
    dbos_queues.cancel(dependencies.database, waiting)
    return len(waiting)
