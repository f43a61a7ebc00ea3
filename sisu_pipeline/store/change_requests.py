"""Requests for changes to a plan, one row per round, and what became of each."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from resources.database import Connection
from sisu_pipeline.contracts.gate import Channel
from sisu_pipeline.store.records import execute, fetch_all, fetch_value

FIRST_ROUND = 2
"""Round 1 is the question of CompileST."""


class RoundOutcome(StrEnum):
    """What became of a request for changes."""

    PLANNING = "planning"
    PLANNED = "planned"
    FAILED = "failed"


@dataclass(frozen=True)
class NewRequest:
    """A request for changes to the plan of a locked run; `plan_sha256` is of the plan at the gate."""

    run_id: str
    round: int
    gate_key: str
    dedupe_key: str
    plan_sha256: str
    comment: str
    requested_by: str
    channel: Channel


@dataclass(frozen=True)
class ChangeRequest(NewRequest):
    """A stored request; `version` is of the plan that it led to, `error` the failure that ended its round."""

    requested_at: datetime
    outcome: RoundOutcome
    error: str | None
    version: int | None


def of_run(connection: Connection, run_id: str) -> list[ChangeRequest]:
    """A run's requests for changes, in order."""
    return fetch_all(connection, "change_requests.of_run", ChangeRequest, {"run_id": run_id})


def most(connection: Connection, run_id: str) -> int:
    """How often people may request changes to the plan of a run, by its recipe."""
    return int(fetch_value(connection, "change_requests.most", {"run_id": run_id}))


def is_planning(connection: Connection, run_id: str) -> bool:
    """Whether the changes that were requested for a run's plan are being planned."""
    return bool(fetch_value(connection, "change_requests.is_planning", {"run_id": run_id}))


def insert(connection: Connection, request: NewRequest) -> ChangeRequest:
    """Record a request and suspend the gate's deadline. The caller has locked the run's row."""
    execute(connection, "change_requests.insert", vars(request))
    execute(connection, "change_requests.stop_deadline", vars(request))
    return of_run(connection, request.run_id)[-1]


def restart_deadline(connection: Connection, run_id: str, round_number: int) -> None:
    """Let the gate wait as long as before the round; counted from now, by the database's clock."""
    execute(connection, "change_requests.restart_deadline", {"run_id": run_id, "round": round_number})
