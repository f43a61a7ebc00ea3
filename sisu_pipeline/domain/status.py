"""The state machine of a run. `store.runs.move` is the only writer of a status.

    queued ─► running ─► waiting_input ─► running ─► succeeded
      │          └────────────┴─► retries_exceeded | failed | canceled
      └─► failed | canceled           failed, retries_exceeded ─► repairing (an explicit retry)

`sql/migrations/0001_app.sql` carries the same table as data, and a trigger refuses any other move.
"""

from enum import StrEnum


class RunStatus(StrEnum):
    """The status of a run."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING_INPUT = "waiting_input"
    REPAIRING = "repairing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    RETRIES_EXCEEDED = "retries_exceeded"

    @property
    def is_terminal(self) -> bool:
        """True when nothing moves the run any more, save an explicit retry."""
        return self in TERMINAL


TERMINAL = frozenset({RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELED, RunStatus.RETRIES_EXCEEDED})

_ENDS = frozenset({RunStatus.FAILED, RunStatus.CANCELED, RunStatus.RETRIES_EXCEEDED})

TRANSITIONS: dict[RunStatus, frozenset[RunStatus]] = {
    RunStatus.QUEUED: frozenset({RunStatus.RUNNING, RunStatus.FAILED, RunStatus.CANCELED}),
    RunStatus.RUNNING: _ENDS | {RunStatus.WAITING_INPUT, RunStatus.SUCCEEDED},
    RunStatus.WAITING_INPUT: _ENDS | {RunStatus.RUNNING},
    RunStatus.REPAIRING: _ENDS | {RunStatus.RUNNING, RunStatus.WAITING_INPUT, RunStatus.SUCCEEDED},
    RunStatus.SUCCEEDED: frozenset(),
    RunStatus.CANCELED: frozenset(),
    RunStatus.FAILED: frozenset({RunStatus.REPAIRING}),
    RunStatus.RETRIES_EXCEEDED: frozenset({RunStatus.REPAIRING}),
}


class IllegalTransition(Exception):
    """A status change the state machine does not know."""

    def __init__(self, current: RunStatus, wanted: RunStatus) -> None:
        super().__init__(f"run is {current}; it cannot become {wanted}")
        self.current = current
        self.wanted = wanted


def can_move(current: RunStatus, wanted: RunStatus) -> bool:
    """Whether the state machine allows this change."""
    return wanted in TRANSITIONS[current]
