"""How a run ends other than by success: its patches are taken back, its status and error are written."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.domain.budget import BudgetExceeded, Violation
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.steps.budget_evidence import budget_evidence
from sisu_pipeline.store import artifacts, runs
from sisu_pipeline.workflow import patching
from sisu_pipeline.workflow.dependencies import Dependencies


class RunEnded(Exception):
    """The run was ended (canceled, say) while a step of it was working."""


@contextmanager
def ending_on_failure(dependencies: Dependencies, run: str) -> Iterator[None]:
    """Ends the run when its step fails: patches taken back, status and error written, then raised again.

    A database that cannot be reached ends nothing. Dagster would log the step as failed all the same, so a
    worker exits at once (`resources/connection_fence.py`): its segment is requeued and resumed from its rows.
    """
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError, RunEnded):
        raise
    except Exception as failure:
        violation = failure.violation if isinstance(failure, BudgetExceeded) else None
        end_run(dependencies, run, RunStatus.RETRIES_EXCEEDED, str(failure) or type(failure).__name__, violation)
        raise


def end_run(
    dependencies: Dependencies, run_id: str, status: RunStatus, error: str, broken: Violation | None = None
) -> None:
    """Take the run's patches back and write its end, with the evidence of the limit it broke, if that is why.

    Nothing when it has ended already.
    """
    workspace = patching.workspace_of(dependencies.workspaces, run_id)
    try:
        patching.roll_back(dependencies.database, workspace, run_id)
    except (patching.PatchMismatch, patching.PathNotAllowed, OSError) as failure:
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
