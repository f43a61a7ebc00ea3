"""Which Dagster run may work on an intent, and how it lets go at a gate (design §2)."""

from resources.database import Database
from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store import gates, runs
from sisu_pipeline.store.runs import Run


class NotOwner(Exception):
    """Another Dagster run owns this intent; the message says which, and what to do."""

    def __init__(self, run: Run) -> None:
        super().__init__(
            f"intent {run.workflow_id} is {run.status} in Dagster run {run.dagster_run_id}: "
            "one intent has one run. Follow that one, or wait for its end."
        )


def enter(database: Database, intent_id: str, dagster_run_id: str) -> Run:
    """Begin (or go on with) work on an intent: own it and set it running.

    A finished intent may be entered by anyone: its steps answer from their rows. Raises NotOwner, NotFound.
    """
    with database.connect() as connection:
        run = runs.get(connection, intent_id)
        if run.status is RunStatus.RUNNING and run.dagster_run_id == dagster_run_id:
            return run  # every step after the first: nothing to write
        run = runs.lock(connection, intent_id)
        if run.status.is_terminal:
            return run
        owned = runs.claim(connection, intent_id, dagster_run_id)
        if owned is None and gates.is_passed(connection, run):
            # Portable profile: the planning run has ended at the gate; this is the run that follows it.
            owned = runs.hand_over(connection, intent_id, dagster_run_id)
        if owned is None:
            raise NotOwner(run)
        if owned.status is RunStatus.RUNNING:
            return owned
        if owned.status is RunStatus.WAITING_INPUT and not gates.is_passed(connection, owned):
            return owned
        return runs.move(connection, owned, RunStatus.RUNNING)


def suspend(database: Database, intent_id: str) -> bool:
    """Let go at a closed gate: status `waiting_input`, the next segment to come. False if it was passed meanwhile.

    The run's row is locked by this and by every decision, so one of the two always sees the other.
    """
    with database.connect() as connection:
        run = runs.lock(connection, intent_id)
        if gates.is_passed(connection, run) or run.status.is_terminal:
            return False
        if run.status is not RunStatus.WAITING_INPUT:
            action = "ANSWER" if run.last_step == StepId.COMPILE else "APPROVE_PLAN"
            runs.move(connection, run, RunStatus.WAITING_INPUT, next_action=action, next_segment=True)
        crash_point("gate.suspend.before")
    crash_point("gate.suspend.after")
    return True
