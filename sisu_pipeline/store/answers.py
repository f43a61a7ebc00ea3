"""Answers at ask gates: the first one that fits the form stands (reference §D5)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from resources.database import Connection, Row
from sisu_pipeline.domain import forms
from sisu_pipeline.domain.canonical import same_json
from sisu_pipeline.domain.errors import AnswerInvalid, DecisionConflict, NotFound
from sisu_pipeline.steps.step_result import ASK_GATE
from sisu_pipeline.store import deadlines, interactions, runs
from sisu_pipeline.store.interactions import Said
from sql import query


@dataclass(frozen=True)
class RecordedAnswer:
    """An answer as it is stored; None is the deadline that passed without one."""

    run_id: str
    gate_key: str
    answer: dict[str, Any] | None
    answered_by: str
    answered_at: datetime


@dataclass(frozen=True)
class Asked:
    """Whether a run asks something, and what came back."""

    is_open: bool
    answered: RecordedAnswer | None


def asked(connection: Connection, run_id: str) -> Asked:
    """The run's ask gate and its answer."""
    gates = connection.execute(query("gates.of_run"), {"run_id": run_id}).fetchall()
    keys = [row["gate_key"] for row in gates if row["purpose"] == ASK_GATE]
    if not keys:
        return Asked(False, None)
    return Asked(True, find(connection, run_id, keys[0]))


def find(connection: Connection, run_id: str, gate_key: str) -> RecordedAnswer | None:
    """The answer at a gate, if there is one."""
    row = connection.execute(query("gates.answer"), {"run_id": run_id, "gate_key": gate_key}).fetchone()
    return None if row is None else _answered(row)


def answer(
    connection: Connection,
    run_reference: str,
    gate_key: str,
    content: dict[str, Any],
    answered_by: str,
    dedupe_key: str | None = None,
) -> RecordedAnswer:
    """Record an answer; the first one stands, and whoever later says the same gets that one.

    Raises NotFound, AnswerInvalid (with where it does not fit the form), DecisionConflict (another answer,
    a run that has ended, a deadline that has passed), or DedupeConflict.
    """
    run = runs.lock(connection, run_reference)
    gate = connection.execute(query("gates.get"), {"run_id": run.id, "gate_key": gate_key}).fetchone()
    if gate is None or gate["purpose"] != ASK_GATE:
        raise NotFound("gate not found")
    faults = forms.faults(gate["form"]["schema"], content)
    if faults:
        raise AnswerInvalid([(fault.pointer, fault.message) for fault in faults])
    said = Said(gate_key, "answer", answered_by, {"answer": content}, dedupe_key)
    interactions.is_repeated(connection, run.id, said)
    earlier = find(connection, run.id, gate_key)
    if earlier is None and deadlines.enforce_locked(connection, run, gate_key):
        earlier = find(connection, run.id, gate_key)
    if earlier is not None:
        return _same(earlier, content)
    if run.status.is_terminal:
        raise DecisionConflict(f"run is {run.status}; there is nothing left to answer")
    interactions.append(connection, run.id, said, gate["plan_sha256"])
    row = connection.execute(
        query("gates.keep_answer"),
        {"run_id": run.id, "gate_key": gate_key, "answer": Jsonb(content), "answered_by": answered_by},
    ).fetchone()
    assert row is not None, "the run's row is locked: nobody else can have answered"
    return _answered(row)


def _same(earlier: RecordedAnswer, content: dict[str, Any]) -> RecordedAnswer:
    if earlier.answer is None:
        raise DecisionConflict("nobody answered before the deadline: the run ends")
    if not same_json(earlier.answer, content):
        raise DecisionConflict(f"already answered by {earlier.answered_by}; the first answer stands")
    return earlier


def _answered(row: Row) -> RecordedAnswer:
    return RecordedAnswer(row["run_id"], row["gate_key"], row["answer"], row["answered_by"], row["answered_at"])
