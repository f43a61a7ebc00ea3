"""The limits of a run's queue partition that the run waits for."""

from dataclasses import dataclass

from resources.database import Connection
from sisu_pipeline.contracts.configuration.queue_settings import StartLimit
from sisu_pipeline.contracts.intent import QueueName
from sisu_pipeline.store.queues import engine_tables
from sisu_pipeline.store.records import fetch_all, fetch_value

_NAMES = {QueueName.INTENT: ("segment", "INTENT_QUEUE"), QueueName.SANDBOX: ("task", "SBX_QUEUE")}
"""What each queue executes, and the prefix of its settings."""
_SHARES = {QueueName.INTENT: ", and four of five intent workers", QueueName.SANDBOX: ""}
"""What bounds the executions of a partition beside the setting (`queueing/dbos_queues.py`)."""


@dataclass(frozen=True)
class PartitionLoad:
    """What a partition executes on a queue and has started within a period, beside its limits; None: no limit."""

    queue_name: QueueName
    partition: str
    executing: int
    most_executing: int | None
    started: int
    most_started: int | None
    period_s: float | None

    @property
    def limit(self) -> str | None:
        """The limit that the partition has reached, as a clause with its setting; None if it has reached none."""
        work, setting = _NAMES[QueueName(self.queue_name)]
        if self.most_started is not None and self.started >= self.most_started:
            return (
                f"partition {self.partition} may start {_counted(self.most_started, work)} in {self.period_s:g} s "
                f"({setting}_RATE_LIMIT_PER_PERIOD)"
            )
        if self.most_executing is not None and self.executing >= self.most_executing:
            at_once = f"partition {self.partition} may execute {_counted(self.most_executing, work)} at once"
            return f"{at_once} ({setting}_CONCURRENCY{_SHARES[QueueName(self.queue_name)]})"
        return None


def waited_for(connection: Connection, run_id: str, starts: StartLimit | None) -> str | None:
    """The limit that an unfinished run waits for, as a clause; None when no limit is the reason.

    `starts` is the limit of intents that start, which the queue does not know.
    """
    partition = None if starts is None else _held_partition(connection, run_id, starts)
    if starts is not None and partition is not None:
        at_most = f"partition {partition} may start {_counted(starts.most, 'intent')} in {starts.period_s:g} s"
        return f"{at_most} (INTENT_QUEUE_RATE_LIMIT_PER_PERIOD)"
    if not engine_tables.exist(connection, engine_tables.QUEUES):
        return None
    loads = fetch_all(connection, "limits.work", PartitionLoad, {"run_id": run_id})
    return next((load.limit for load in loads if load.limit is not None), None)


def _held_partition(connection: Connection, run_id: str, starts: StartLimit) -> str | None:
    """The partition of a run that was never started, if the partition has used up its starts."""
    values = {"run_id": run_id, "most": starts.most, "period_s": starts.period_s}
    partition: str | None = fetch_value(connection, "limits.start", values)
    return partition


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
