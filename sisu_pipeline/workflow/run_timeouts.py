"""The time limit of a run (`timeoutMS`): a run that has not ended when it passes is canceled."""

from resources.database import Database
from sisu_pipeline.contracts.gate import Channel
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store import deadlines, runs
from sisu_pipeline.store.runs import Cause
from sisu_pipeline.workflow.dependencies import Dependencies
from sisu_pipeline.workflow.run_failure import ending_permanently

_BATCH = 100


def enforce(dependencies: Dependencies) -> list[str]:
    """Cancel every run whose time limit has passed, each in its own transaction; returns their ids.

    A run that cannot be canceled is ended, and delays no other.
    """
    with dependencies.database.connect() as connection:
        due = runs.timed_out(connection, _BATCH)
    canceled = []
    for run_id in due:
        with ending_permanently(dependencies, run_id, "cancel it after its timeoutMS"):
            if cancel_late(dependencies.database, run_id):
                canceled.append(run_id)
    return canceled


def cancel_late(database: Database, run_id: str) -> bool:
    """Cancel a run whose time limit has passed; returns False when it has ended meanwhile."""
    with database.connect() as connection:
        run = runs.lock(connection, run_id)
        if run.status.is_terminal:
            return False
        reason = f"it did not end within its timeoutMS of {run.timeout_ms} ms"
        cause = Cause(deadlines.ACTOR, reason, Channel.DEADLINE)
        error = f"canceled by {cause.person}: {reason}"
        runs.move(connection, run, RunStatus.CANCELED, error=error, next_action="NONE", cause=cause)
    return True
