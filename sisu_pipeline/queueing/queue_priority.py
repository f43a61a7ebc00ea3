"""The priority of work on the queues: a lower number is taken earlier; the queue accepts 1 to 2,147,483,647.

Each queue serves its partitions in turn, and within a partition by priority, then by age.
"""

_UNPLANNED = 2**30
_LEAST_URGENT = _UNPLANNED - 1
"""Priorities of runs from here on are equal on the queue."""
DECISION = 1
SUBMISSION = 2
REPLAY = 3
"""The priorities of Dagster jobs, which share a partition: a backfill must not delay decisions."""


def of_work(priority: int, segment: int) -> int:
    """The priority of a segment or question of a run: what continues a run goes before what starts one.

    A run that continues behind a gate, after a request for changes or a retry, has been decided by a person.
    Among those, and among the runs that start, the priority of the run decides.
    """
    bounded = min(priority, _LEAST_URGENT)
    return bounded if segment > 1 else _UNPLANNED + bounded
