"""Which Dagster run may work on an intent, and how it lets go at a gate (design §2)."""

from resources.database import Connection, Database
from sisu_pipeline.status import RunStatus
from sisu_pipeline.store import gates, runs
from sisu_pipeline.store.runs import Run


class NotOwner(Exception):
    """Another Dagster run owns this intent; the message says which, and what to do."""

    def __init__(self, run: Run) -> None:
        super().__init__(
            f"intent {run.workflow_id} is {run.status} in Dagster run {run.dagster_run_id}: "
            "one intent has one run. Follow that one, or wait for its end."
        )


def enter(database: Database, workflow_id: str, dagster_run_id: str) -> Run:
    """Begin (or go on with) work on an intent: own it and set it running.

    A finished intent may be entered by anyone: its steps answer from their rows. Raises NotOwner, NotFound.
    """
    with database.connect() as connection:
        run = runs.lock(connection, workflow_id)
        if run.status.is_terminal:
            return run
        owned = runs.claim(connection, workflow_id, dagster_run_id)
        if owned is None and _is_decided(connection, run):
            # Portable profile: the planning run has ended at the gate; this is the run that follows it.
            owned = runs.hand_over(connection, workflow_id, dagster_run_id)
        if owned is None:
            raise NotOwner(run)
        if owned.status is RunStatus.RUNNING:
            return owned
        if owned.status is RunStatus.WAITING_INPUT and not _is_decided(connection, owned):
            return owned
        return runs.move(connection, owned, RunStatus.RUNNING)


def suspend(database: Database, workflow_id: str) -> bool:
    """Let go at an undecided gate: status `waiting_input`, the next segment to come. False when decided meanwhile.

    The run's row is locked by this and by every decision, so one of the two always sees the other.
    """
    with database.connect() as connection:
        run = runs.lock(connection, workflow_id)
        if _is_decided(connection, run) or run.status.is_terminal:
            return False
        if run.status is not RunStatus.WAITING_INPUT:
            runs.move(connection, run, RunStatus.WAITING_INPUT, next_action="APPROVE_PLAN", next_segment=True)
        return True


def _is_decided(connection: Connection, run: Run) -> bool:
    return gates.decision(connection, run.id) is not None
