"""Why a Dagster run failed, in a line: what an operator would look for in its log."""

import dagster as dg
from dagster_shared.error import SerializableErrorInfo

_LONGEST = 500
_RECENT = 20
_TELLING = {dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.ENGINE_EVENT}


def failure_cause(instance: dg.DagsterInstance, dagster_run_id: str) -> str:
    """The innermost error that the run's log ends with, with its step if it has one; else what it says last."""
    records = instance.get_records_for_run(dagster_run_id, of_type=_TELLING, limit=_RECENT, ascending=False).records
    events = [record.event_log_entry.dagster_event for record in records]
    for event in events:
        error = getattr(event.event_specific_data, "error", None) if event is not None else None
        if event is not None and isinstance(error, SerializableErrorInfo):
            where = f"{event.step_key}: " if event.step_key else ""
            return f"{where}{_innermost(error)}"[:_LONGEST]
    said = next((event.message for event in events if event is not None and event.message), None)
    return (said or "its log does not say why")[:_LONGEST]


def _innermost(error: SerializableErrorInfo) -> str:
    while error.cause is not None:
        error = error.cause
    return " ".join(error.message.split())
