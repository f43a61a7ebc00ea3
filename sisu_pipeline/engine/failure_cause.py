"""The cause of a failed Dagster run in one line, read from its event log."""

import dagster as dg
from dagster_shared.error import SerializableErrorInfo

_MAX_LENGTH = 500
_RECENT = 20
_EVENT_TYPES = {dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.ENGINE_EVENT}


def failure_cause(instance: dg.DagsterInstance, dagster_run_id: str) -> str:
    """Return the innermost error of the latest failure, after its step's name, or the log's last message.

    At most 500 characters.
    """
    records = instance.get_records_for_run(
        dagster_run_id, of_type=_EVENT_TYPES, limit=_RECENT, ascending=False
    ).records
    events = [record.event_log_entry.dagster_event for record in records]
    for event in events:
        error = getattr(event.event_specific_data, "error", None) if event is not None else None
        if event is not None and isinstance(error, SerializableErrorInfo):
            where = f"{event.step_key}: " if event.step_key else ""
            return f"{where}{_innermost(error)}"[:_MAX_LENGTH]
    message = next((event.message for event in events if event is not None and event.message), None)
    return (message or "the log contains no cause")[:_MAX_LENGTH]


def _innermost(error: SerializableErrorInfo) -> str:
    while error.cause is not None:
        error = error.cause
    return " ".join(error.message.split())
