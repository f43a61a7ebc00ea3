"""Ownership of an intent: the one Dagster run that may work on it, from its start to its gates.

A segment enters the intent before its first step. Each step checks the ownership again on the run's row, which it
reads anyway. In the portable profile there are no segments: there, the first step of a Dagster run enters.
"""

from resources.database import Connection, Database
from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store import change_requests, gates, runs
from sisu_pipeline.store.runs import Run

APPROVE_PLAN, PLAN = "APPROVE_PLAN", "PLAN"
_NEXT_ACTION: dict[str | None, str] = {None: PLAN, StepId.COMPILE: "ANSWER"}
"""What a run waits for before its plan gate, by its last step."""


class NotOwner(Exception):
    """Another Dagster run owns the intent; the message names it and what to do."""

    def __init__(self, run: Run) -> None:
        super().__init__(
            f"intent {run.workflow_id} is {run.status} in Dagster run {run.dagster_run_id}: "
            "one intent has one run. Follow that one, or wait for its end."
        )


def enter(database: Database, intent_id: str, dagster_run_id: str) -> Run:
    """Make a Dagster run the owner of an intent and set the intent's run running.

    A run that has ended, or waits at a gate, stays as it is: its steps return their stored results.

    Raises NotFound, or NotOwner when another Dagster run owns the intent.
    """
    with database.connect() as connection:
        return enter_within(connection, intent_id, dagster_run_id)


def resume(database: Database, intent_id: str, dagster_run_id: str) -> Run | None:
    """Do what `enter` does for a Dagster run that the launcher made the owner; None when it no longer is.

    A retry takes the intent away from its Dagster run. When the worker that ended that run died before the queue
    recorded it, the segment is executed again, and must not take the intent back. Raises NotFound.
    """
    with database.connect() as connection:
        run = runs.lock(connection, intent_id)
        if not run.status.is_terminal and run.dagster_run_id != dagster_run_id:
            return None
        return _take_over(connection, intent_id, dagster_run_id)


def enter_within(connection: Connection, intent_id: str, dagster_run_id: str) -> Run:
    """Do what `enter` does in the caller's transaction. One SELECT when the Dagster run has entered before.

    Commits the transaction when it changes the run, so that a failure in the rest of it does not undo the entry.
    """
    run = runs.get(connection, intent_id)
    if run.status.is_terminal or (run.status is RunStatus.RUNNING and run.dagster_run_id == dagster_run_id):
        return run
    run = _take_over(connection, intent_id, dagster_run_id)
    connection.commit()
    return run


def _take_over(connection: Connection, intent_id: str, dagster_run_id: str) -> Run:
    run = runs.lock(connection, intent_id)
    if run.status.is_terminal:
        return run
    owned = runs.claim(connection, intent_id, dagster_run_id)
    if owned is None and gates.is_passed(connection, run):
        # Portable profile: the Dagster run that planned ended at the gate, and this one continues behind it.
        owned = runs.hand_over(connection, intent_id, dagster_run_id)
    if owned is None:
        raise NotOwner(run)
    if owned.status is RunStatus.RUNNING:
        return owned
    if owned.status is RunStatus.WAITING_INPUT and not gates.is_passed(connection, owned):
        return owned
    return runs.move(connection, owned, RunStatus.RUNNING)


def suspend(database: Database, intent_id: str) -> bool:
    """Set the run waiting at its gate and count its next segment. False when the gate was passed meanwhile.

    This and every decision lock the run's row, so one of the two always sees the other.
    """
    with database.connect() as connection:
        run = runs.lock(connection, intent_id)
        if gates.is_passed(connection, run) or run.status.is_terminal:
            return False
        if run.status is not RunStatus.WAITING_INPUT:
            is_changed = change_requests.is_planning(connection, run.id)
            action = PLAN if is_changed else _NEXT_ACTION.get(run.last_step, APPROVE_PLAN)
            runs.move(connection, run, RunStatus.WAITING_INPUT, next_action=action, next_segment=True)
        crash_point("gate.suspend.before")
    crash_point("gate.suspend.after")
    return True


def entered(connection: Connection, intent_id: str, dagster_run_id: str | None) -> Run:
    """The intent's run, which the Dagster run owns. Raises NotOwner."""
    if dagster_run_id is None:
        return runs.get(connection, intent_id)
    return enter_within(connection, intent_id, dagster_run_id)
