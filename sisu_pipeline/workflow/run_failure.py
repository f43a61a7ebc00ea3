"""The end of a run other than by success: its patches are rolled back, its status and error are written."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from resources.failure_classification import database_kind, is_database_away, kind_of, sentence_of
from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.domain.budget import BudgetExceeded, Violation
from sisu_pipeline.domain.changes.workspace_files import PathNotAllowed
from sisu_pipeline.domain.failure_kind import FailureKind
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.steps.budget_evidence import budget_evidence
from sisu_pipeline.store import runs
from sisu_pipeline.store.outputs import artifacts
from sisu_pipeline.workflow import patching
from sisu_pipeline.workflow.dependencies import Dependencies
from sisu_pipeline.workflow.ownership import NotOwner

logger = logging.getLogger(__name__)

_ROLLBACK_FAILED = "APPLY_PATCH_ROLLBACK_FAILED"


class RunEnded(Exception):
    """The run has ended, for example by a cancellation, so its step cannot work."""


@contextmanager
def ending_on_failure(dependencies: Dependencies, run: str) -> Iterator[None]:
    """End the run when the block raises: roll back its patches, write its status and error, and raise again.

    Three failures do not end the run: it has ended already, the Dagster run does not own it, or the database
    is away. Dagster logs a failed step in the last case too, so a worker exits at once
    (`resources/connection_fence.py`): its segment is requeued and resumed from its rows. A statement that the
    database refuses for good ends the run like any other failure.
    """
    try:
        yield
    except (RunEnded, NotOwner):
        raise
    except Exception as failure:
        if is_database_away(failure):
            raise
        violation = failure.violation if isinstance(failure, BudgetExceeded) else None
        end_run(dependencies, run, RunStatus.RETRIES_EXCEEDED, _reason(failure), violation)
        raise


@contextmanager
def ending_permanently(dependencies: Dependencies, run_id: str, action: str) -> Iterator[None]:
    """End the run when the block fails permanently, and continue; raise any other failure.

    For work on many runs in turn: one run's failure must not delay the others. `action` is an infinitive that
    completes "cannot …".
    """
    try:
        yield
    except Exception as failure:
        if kind_of(failure) is not FailureKind.PERMANENT:
            raise
        logger.warning("run %s: cannot %s: %s", run_id, action, sentence_of(failure))
        end_run(dependencies, run_id, RunStatus.RETRIES_EXCEEDED, f"cannot {action}: {sentence_of(failure)}")


def rollback_error(failure: Exception, error: str) -> str:
    """A run's error when its patches cannot be rolled back, with its first error; law 700 reads its beginning."""
    if error.startswith(_ROLLBACK_FAILED):
        return error
    return f"{_ROLLBACK_FAILED}:{failure};source={error}"


def _reason(failure: Exception) -> str:
    """The error of a run: a step's own message whole, one of the database as a sentence."""
    return sentence_of(failure) if database_kind(failure) is not None else str(failure) or type(failure).__name__


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
        error = rollback_error(failure, error)
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
