"""Cleanup after a cancellation: patches are rolled back, queued work is dropped and the Dagster run is ended.

A cancellation itself only writes the status. The cleanup runs where the workspace and the engines are accessible,
and after the segment that was executed has released its lock, so that no step patches a file behind the rollback.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.queueing import dbos_queues
from sisu_pipeline.store.queues import outbox, segments
from sisu_pipeline.store.queues.outbox import CanceledRun
from sisu_pipeline.workflow import patching
from sisu_pipeline.workflow.dependencies import Dependencies

BATCH = 20
_NO_REASON = "canceled"


@dataclass(frozen=True)
class CleanedUp:
    """A canceled run that is cleaned up: the number of patches rolled back and of workflows dropped."""

    run_id: str
    patches: int
    dropped: int


def clean_up_canceled(dependencies: Dependencies, end_dagster_run: Callable[[str, str], None]) -> list[CleanedUp]:
    """Clean up every canceled run whose segment has released its lock.

    `end_dagster_run` is called with a Dagster run id and the reason of the cancellation.
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
        workspace = patching.workspace_of(dependencies.workspaces, run.id)
        crash_point("closing.roll_back.before")
        patches = patching.roll_back(dependencies.database, workspace, run.id)
        crash_point("closing.roll_back.after")
        dropped = _drop_waiting(dependencies, run.workflow_id)
        if run.dagster_run_id is not None:
            end_dagster_run(run.dagster_run_id, run.error or _NO_REASON)
        crash_point("closing.mark.before")
        outbox.mark_cleaned_up(session, run.id)
    return CleanedUp(run.id, patches, dropped)


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
