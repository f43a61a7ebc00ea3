"""Deadlines of gates: the declared outcome of an undecided gate, and the outbox of escalations.

The outcome is written by the sensor, or by a request after the deadline, whichever is first. The
run's row is locked meanwhile, so there is one outcome.
"""

from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from resources.database import Connection
from sisu_pipeline.contracts.gate import DEADLINE_ACTOR, Channel, Decision, TimeoutOutcome
from sisu_pipeline.store import human_gates, interactions, plans, runs
from sisu_pipeline.store.human_gates import HumanGate
from sisu_pipeline.store.interactions import NewInteraction
from sisu_pipeline.store.records import execute, fetch_all, fetch_value, iso
from sisu_pipeline.store.runs import Run

ACTOR = DEADLINE_ACTOR
NOTES = "timeout"
SHORTEST_REOPENING_S = 3600
REMEDY = "an operator can open the gate again with `sisu run retry RUN`"


@dataclass(frozen=True)
class OverdueGate:
    """An undecided gate whose deadline has passed."""

    run_id: str
    gate_key: str


@dataclass(frozen=True)
class Escalation:
    """A message about a deadline that passed, to be delivered to the webhook; `attempts` have failed."""

    run_id: str
    gate_key: str
    payload: dict[str, Any]
    attempts: int

    @property
    def key(self) -> dict[str, Any]:
        """What identifies the escalation."""
        return {"run_id": self.run_id, "gate_key": self.gate_key}


def due(connection: Connection, limit: int) -> list[OverdueGate]:
    """Overdue gates, the longest overdue first, at most `limit`."""
    return fetch_all(connection, "deadlines.due", OverdueGate, {"limit": limit})


def enforce(connection: Connection, run_id: str, gate_key: str) -> bool:
    """Write the outcome of a gate whose deadline has passed; returns False when it is decided already."""
    return enforce_locked(connection, runs.lock(connection, run_id), gate_key)


def enforce_locked(connection: Connection, run: Run, gate_key: str) -> bool:
    """Do the same for a run whose row the caller has locked."""
    key = {"run_id": run.id, "gate_key": gate_key}
    is_over = fetch_value(connection, "deadlines.is_over", key)
    if run.status.is_terminal or not is_over:
        return False
    gate = human_gates.find(connection, run.id, gate_key)
    assert gate is not None and gate.deadline_at is not None
    outcome = _outcome(run, gate)
    if not _write(connection, run, gate, outcome):
        return False
    deadline = iso(gate.deadline_at)
    # The first deadline of a gate has no number; each one after a reopening has its own.
    passed = fetch_value(connection, "deadlines.passed", key)
    name = f"{gate_key}:{passed + 1}" if passed else gate_key
    interaction = NewInteraction(
        gate_key,
        "timeout",
        ACTOR,
        {"deadlineAt": deadline, "outcome": str(outcome)},
        f"timeout:{name}",
        Channel.DEADLINE,
    )
    interactions.append(connection, run.id, interaction, gate.plan_sha256)
    message = {
        "event": "TIMEOUT_ESCALATION",
        "id": f"esc:{run.workflow_id}:{name}",
        "runId": run.id,
        "workflowId": run.workflow_id,
        "gateKey": gate_key,
        "purpose": gate.purpose,
        "deadlineAt": deadline,
        "outcome": str(outcome),
    }
    execute(connection, "deadlines.escalate", {**key, "payload": Jsonb(message)})
    return True


def reopen(connection: Connection, run: Run, person: str, reason: str) -> bool:
    """Open the gates of a run again whose deadline passed with a rejection or without an answer.

    They wait as long as before, but at least an hour unless the policy allows less. Returns False when a person
    decided, or no deadline passed. The caller has locked the run's row.
    """
    limits = {"shortest_s": SHORTEST_REOPENING_S, "longest_s": run.rules.longest_deadline_s}
    values = {"run_id": run.id, "person": person, "reason": reason, **limits}
    return bool(fetch_value(connection, "deadlines.reopen", values) > 0)


def take_escalations(connection: Connection, max_attempts: int, limit: int) -> list[Escalation]:
    """Escalations to deliver now, at most `limit`, their rows locked until the transaction ends."""
    return fetch_all(connection, "deadlines.take", Escalation, {"most_attempts": max_attempts, "limit": limit})


def mark_delivered(connection: Connection, escalation: Escalation) -> None:
    """Record that the webhook accepted an escalation."""
    execute(connection, "deadlines.delivered", escalation.key)


def mark_failed(connection: Connection, escalation: Escalation, error: str, wait_s: float) -> None:
    """Record that the webhook did not accept an escalation; it is due again in `wait_s` seconds."""
    execute(connection, "deadlines.failed", {**escalation.key, "error": error, "wait_s": wait_s})


def give_up(connection: Connection, escalation: Escalation, error: str) -> None:
    """Record that an escalation was not accepted and is not sent again."""
    execute(connection, "deadlines.give_up", {**escalation.key, "error": error})


def last_refusal(connection: Connection) -> str | None:
    """Why the message whose delivery ended last was given up; None when it was delivered, or there is none."""
    error: str | None = fetch_value(connection, "deadlines.last_refusal")
    return error


def _outcome(run: Run, gate: HumanGate) -> TimeoutOutcome:
    """The declared outcome. A gate opened by an earlier release may declare one that the policy does not allow."""
    may_approve = gate.is_plan_gate and run.rules.deadline_may_approve
    return gate.on_timeout if may_approve else TimeoutOutcome.REJECT


def _write(connection: Connection, run: Run, gate: HumanGate, outcome: TimeoutOutcome) -> bool:
    """Store the outcome as the decision or the missing answer; returns False if a decision was recorded first."""
    if gate.is_plan_gate:
        decision = Decision.APPROVED if outcome is TimeoutOutcome.APPROVE else Decision.REJECTED
        plan = plans.edited_hash(connection, run.id) or gate.plan_sha256
        values: dict[str, Any] = {"decision": decision, "decided_by": ACTOR, "notes": NOTES, "plan_sha256": plan}
        values["approvers"] = []
        values["channel"] = Channel.DEADLINE
        return execute(connection, "gates.decide", {"run_id": run.id, **values}) > 0
    values = {"gate_key": gate.gate_key, "answer": None, "answered_by": ACTOR}
    return execute(connection, "gates.store_answer", {"run_id": run.id, **values}) > 0
