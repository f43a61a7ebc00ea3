"""Gates and decisions: one row per decision, bound to the plan it saw (design §2.4, §6)."""

from dataclasses import dataclass
from datetime import datetime

from resources.database import Connection, Row
from sisu_pipeline.contracts.gate import Decision
from sisu_pipeline.steps.result import PLAN_GATE, Gate
from sisu_pipeline.store import runs
from sisu_pipeline.store.errors import DecisionConflict, DeterminismBreach
from sisu_pipeline.store.runs import Run
from sql import query


@dataclass(frozen=True)
class Decided:
    """A decision as it is stored."""

    run_id: str
    decision: Decision
    decided_by: str
    decided_at: datetime
    notes: str | None
    plan_sha256: str | None


def open_gate(connection: Connection, run_id: str, gate: Gate) -> None:
    """Open a gate, once. Raises DeterminismBreach when it is open for another plan."""
    inserted = connection.execute(
        query("gates.open"),
        {
            "run_id": run_id,
            "gate_key": gate.key,
            "step_id": gate.step_id,
            "purpose": gate.purpose,
            "topic": f"human:{gate.key}",
            "plan_sha256": gate.plan_sha256,
        },
    ).fetchone()
    if inserted is None and plan_hash(connection, run_id) != gate.plan_sha256:
        raise DeterminismBreach(f"gate {gate.key} of {run_id} is open for another plan")


def plan_hash(connection: Connection, run_id: str) -> str | None:
    """The hash of the plan the run's plan gate asks about; None before it opens."""
    rows = connection.execute(query("gates.of_run"), {"run_id": run_id}).fetchall()
    hashes: list[str] = [row["plan_sha256"] for row in rows if row["purpose"] == PLAN_GATE]
    return hashes[0] if hashes else None


def decision(connection: Connection, run_id: str) -> Decided | None:
    """The decision on the run's plan, if there is one."""
    row = connection.execute(query("gates.decision"), {"run_id": run_id}).fetchone()
    if row is None:
        return None
    return _decided(row)


def decide(
    connection: Connection,
    identifier: str,
    wanted: Decision,
    decided_by: str,
    notes: str | None,
    plan_sha256: str | None,
) -> Decided:
    """Record a decision; the first one wins, and everyone later with the same decision gets that one.

    Raises NotFound, or DecisionConflict (another decision, another plan, a run that has ended).
    """
    # The lock makes this and a suspension see each other, so that no wake-up is lost (design §2.5).
    run = runs.lock(connection, identifier)
    earlier = decision(connection, run.id)
    if earlier is not None:
        if earlier.decision is not wanted:
            raise DecisionConflict(
                f"plan already {earlier.decision} by {earlier.decided_by}; the first decision stands"
            )
        _check_plan(plan_sha256, earlier.plan_sha256 or plan_hash(connection, run.id))
        return earlier
    _check_open(run)
    _check_plan(plan_sha256, plan_hash(connection, run.id))
    row = connection.execute(
        query("gates.decide"),
        {
            "run_id": run.id,
            "decision": wanted,
            "decided_by": decided_by,
            "notes": notes,
            "plan_sha256": plan_sha256,
        },
    ).fetchone()
    assert row is not None, "the run's row is locked: nobody else can have decided"
    return _decided(row)


def _decided(row: Row) -> Decided:
    return Decided(
        row["run_id"],
        Decision(row["decision"]),
        row["decided_by"],
        row["decided_at"],
        row["notes"],
        row["plan_sha256"],
    )


def _check_open(run: Run) -> None:
    if run.status.is_terminal:
        raise DecisionConflict(f"run is {run.status}; there is nothing left to decide")


def _check_plan(seen: str | None, current: str | None) -> None:
    if seen is not None and current is not None and seen != current:
        raise DecisionConflict(f"the plan has changed: you read {seen}, the gate asks about {current}")
