"""Deadlines: what a gate decides for itself when nobody did, and the outbox that tells of it (reference §D7).

Whoever notices first writes the outcome, the sensor or a person who comes too late: under the run's lock, so
that there is one outcome, whatever was down when.
"""

from typing import Any

from psycopg.types.json import Jsonb

from resources.database import Connection, Row
from sisu_pipeline.contracts.gate import TimeoutOutcome
from sisu_pipeline.steps.step_result import PLAN_GATE
from sisu_pipeline.store import interactions, plans, runs
from sisu_pipeline.store.interactions import Said
from sisu_pipeline.store.runs import Run
from sql import query

ACTOR = "sisu:deadline"
NOTES = "timeout"


def due(connection: Connection, limit: int) -> list[Row]:
    """Gates (`run_id`, `gate_key`) that are overdue and undecided, the longest overdue first."""
    return connection.execute(query("deadlines.due"), {"limit": limit}).fetchall()


def enforce(connection: Connection, run_id: str, gate_key: str) -> bool:
    """Write the outcome of a gate whose deadline has passed; False when there was nothing to write any more."""
    return enforce_locked(connection, runs.lock(connection, run_id), gate_key)


def enforce_locked(connection: Connection, run: Run, gate_key: str) -> bool:
    """The same for a run whose row the caller holds."""
    key = {"run_id": run.id, "gate_key": gate_key}
    over = connection.execute(query("deadlines.is_over"), key).fetchone()
    if run.status.is_terminal or over is None or not over["is_over"]:
        return False
    gate = connection.execute(query("gates.get"), key).fetchone()
    assert gate is not None
    outcome = TimeoutOutcome(gate["on_timeout"])
    if not _write(connection, run, gate, outcome):
        return False
    deadline = gate["deadline_at"].isoformat()
    said = Said(
        gate_key, "timeout", ACTOR, {"deadlineAt": deadline, "outcome": str(outcome)}, f"timeout:{gate_key}"
    )
    interactions.append(connection, run.id, said, gate["plan_sha256"])
    message = {
        "event": "TIMEOUT_ESCALATION",
        "id": f"esc:{run.workflow_id}:{gate_key}",
        "runId": run.id,
        "workflowId": run.workflow_id,
        "gateKey": gate_key,
        "purpose": gate["purpose"],
        "deadlineAt": deadline,
        "outcome": str(outcome),
    }
    connection.execute(query("deadlines.escalate"), {**key, "payload": Jsonb(message)})
    return True


def take_escalation(connection: Connection, most_attempts: int) -> Row | None:
    """One message to deliver now (`run_id`, `gate_key`, `payload`, `attempts`); this transaction holds its row."""
    return connection.execute(query("deadlines.take"), {"most_attempts": most_attempts}).fetchone()


def mark_delivered(connection: Connection, escalation: Row) -> None:
    """The webhook has it."""
    connection.execute(query("deadlines.delivered"), _key(escalation))


def mark_failed(connection: Connection, escalation: Row, error: str, wait_s: float) -> None:
    """The webhook has not: to be tried again in `wait_s` seconds."""
    connection.execute(query("deadlines.failed"), {**_key(escalation), "error": error, "wait_s": wait_s})


def _write(connection: Connection, run: Run, gate: Row, outcome: TimeoutOutcome) -> bool:
    """The outcome as the decision or the (missing) answer; False when a person was first."""
    if gate["purpose"] == PLAN_GATE:
        decision = "approved" if outcome is TimeoutOutcome.APPROVE else "rejected"
        plan = plans.edited_hash(connection, run.id) or gate["plan_sha256"]
        values: dict[str, Any] = {"decision": decision, "decided_by": ACTOR, "notes": NOTES, "plan_sha256": plan}
        return connection.execute(query("gates.decide"), {"run_id": run.id, **values}).fetchone() is not None
    values = {"gate_key": gate["gate_key"], "answer": None, "answered_by": ACTOR}
    return connection.execute(query("gates.keep_answer"), {"run_id": run.id, **values}).fetchone() is not None


def _key(escalation: Row) -> dict[str, Any]:
    return {"run_id": escalation["run_id"], "gate_key": escalation["gate_key"]}
