"""Pushes of result branches: one request per succeeded run whose plan has a push, and one row about its end."""

from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum

from resources.database import Connection
from sisu_pipeline.store.records import execute, fetch_column, fetch_first, fetch_value

MOST_ATTEMPTS = 12
_PAUSES = {"first_pause_s": 5.0, "longest_pause_s": 3600.0}


class PushState(StrEnum):
    """The state of a run's push."""

    WAITING = "waiting"
    PUSHED = "pushed"
    FAILED = "failed"


@dataclass(frozen=True)
class DuePush:
    """A push whose next attempt, the one with the number `attempts`, has started."""

    run_id: str
    remote: str
    branch: str
    attempts: int
    last_error: str | None

    @property
    def is_last_attempt(self) -> bool:
        """True when a failure of this attempt ends the push."""
        return self.attempts >= MOST_ATTEMPTS


@dataclass(frozen=True)
class PushEnd:
    """The end of a push: the commit with its parent, tree and difference, or the error."""

    state: PushState
    commit: str | None = None
    parent: str | None = None
    tree: str | None = None
    changes: str | None = None
    error: str | None = None

    @classmethod
    def failed(cls, error: str) -> "PushEnd":
        """The end of a push that failed for good."""
        return cls(PushState.FAILED, error=error)


@dataclass(frozen=True)
class RunPush:
    """The push of a run. `error` is why it failed, or why its last attempt did."""

    state: PushState
    remote: str
    branch: str
    commit: str | None
    error: str | None
    attempts: int
    ended_at: datetime | None


def request(connection: Connection, run_id: str) -> None:
    """Request the push of a run in the transaction in which it succeeds. Does nothing for a plan without a push."""
    execute(connection, "pushes.request", {"run_id": run_id})


def due_remotes(connection: Connection) -> list[str]:
    """The remotes to which a push is due."""
    return fetch_column(connection, "pushes.due_remotes")


def take(connection: Connection, remote: str | None = None) -> DuePush | None:
    """Start an attempt of a push that is due, to this remote or any; None when none is.

    A crash counts as an attempt.
    """
    values = {**_PAUSES, "most_attempts": MOST_ATTEMPTS, "remote": remote}
    return fetch_first(connection, "pushes.take", DuePush, values)


def postpone(connection: Connection, run_id: str, error: str) -> None:
    """Record why an attempt failed that may succeed later."""
    execute(connection, "pushes.postpone", {**_PAUSES, "run_id": run_id, "error": error})


def end(connection: Connection, run_id: str, ended: PushEnd) -> bool:
    """Record the end of a push and announce it to the webhook; False when an end is recorded already."""
    key = {"run_id": run_id}
    is_first = fetch_value(connection, "pushes.insert", {**key, **asdict(ended)}) is not None
    execute(connection, "pushes.finish", key)
    execute(connection, "pushes.announce", key)
    return is_first


def of_run(connection: Connection, run_id: str) -> RunPush | None:
    """The push of a run; None without one, and before the run has succeeded."""
    return fetch_first(connection, "pushes.of_run", RunPush, {"run_id": run_id})
