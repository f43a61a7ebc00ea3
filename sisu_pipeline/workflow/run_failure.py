"""The end of a run other than by success: its patches are rolled back, its status and error are written."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.domain.budget import BudgetExceeded, Violation
from sisu_pipeline.domain.changes.workspace_files import PathNotAllowed
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.steps.budget_evidence import budget_evidence
from sisu_pipeline.store import runs
from sisu_pipeline.store.outputs import artifacts
from sisu_pipeline.workflow import patching
from sisu_pipeline.workflow.dependencies import Dependencies
from sisu_pipeline.workflow.ownership import NotOwner


class RunEnded(Exception):
    """The run has ended, for example by a cancellation, so its step cannot work."""


@contextmanager
def ending_on_failure(dependencies: Dependencies, run: str) -> Iterator[None]:
    """End the run when the block raises: roll back its patches, write its status and error, and raise again.

    Three failures do not end the run: it has ended already, the Dagster run does not own it, or the database
    cannot be reached. Dagster logs a failed step in the last case too, so a worker exits at once
    (`resources/connection_fence.py`): its segment is requeued and resumed from its rows.
    """
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError, RunEnded, NotOwner):
        raise
    except Exception as failure:
        violation = failure.violation if isinstance(failure, BudgetExceeded) else None
        end_run(dependencies, run, RunStatus.RETRIES_EXCEEDED, str(failure) or type(failure).__name__, violation)
        raise


def end_run(
    dependencies: Dependencies, run_id: str, status: RunStatus, error: str, broken: Violation | None = None
) -> None:
    """Roll the run's patches back and write its end, with the evidence of the budget limit it broke, if any.

    Does nothing to a run that has ended already.
    """
    workspace = patching.workspace_of(dependencies.workspaces, run_id)
    try:
        patching.roll_back(dependencies.database, workspace, run_id)
    except (patching.PatchMismatch, PathNotAllowed, OSError) as failure:
        error = f"APPLY_PATCH_ROLLBACK_FAILED:{failure};source={error}"
    with dependencies.database.connect() as connection:
        run = runs.lock(connection, run_id)
        if run.status.is_terminal:
            return
        if run.status is RunStatus.QUEUED:
            run = runs.move(connection, run, RunStatus.RUNNING)
        if broken is not None:
            evidence = budget_evidence(run.id, run.retry_count, broken)
            artifacts.insert(connection, run.id, [evidence], dependencies.blobs)
        action = "NONE" if status is RunStatus.CANCELED else "REPAIR"
        runs.move(connection, run, status, error=error, next_action=action)
        crash_point("run.fail.before")
    crash_point("run.fail.after")
