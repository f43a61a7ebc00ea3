"""Answers at ask gates. The first answer that fits the form is final."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from resources.database import Connection
from sisu_pipeline.contracts.gate import Channel
from sisu_pipeline.domain import forms
from sisu_pipeline.domain.canonical import same_json
from sisu_pipeline.domain.errors import AnswerInvalid, DecisionConflict, NotFound
from sisu_pipeline.store import deadlines, human_gates, interactions, runs
from sisu_pipeline.store.human_gates import HumanGate
from sisu_pipeline.store.interactions import NewInteraction
from sisu_pipeline.store.records import fetch_first, fetch_one


@dataclass(frozen=True)
class RecordedAnswer:
    """An answer as it is stored; `answer` is None when the deadline passed without one."""

    run_id: str
    gate_key: str
    answer: dict[str, Any] | None
    answered_by: str
    answered_at: datetime


@dataclass(frozen=True)
class Asked:
    """Whether a run has asked a question, and the answer if there is one."""

    is_open: bool
    answered: RecordedAnswer | None


def asked(connection: Connection, run_id: str) -> Asked:
    """The question of a run and its answer."""
    keys = [gate.gate_key for gate in human_gates.of_run(connection, run_id) if gate.is_ask_gate]
    if not keys:
        return Asked(False, None)
    return Asked(True, find(connection, run_id, keys[0]))


def find(connection: Connection, run_id: str, gate_key: str) -> RecordedAnswer | None:
    """The answer at a gate, if there is one."""
    return fetch_first(connection, "gates.answer", RecordedAnswer, {"run_id": run_id, "gate_key": gate_key})


def answer(
    connection: Connection,
    run_reference: str,
    gate_key: str,
    content: dict[str, Any],
    answered_by: str,
    dedupe_key: str | None = None,
    channel: Channel = Channel.API,
) -> RecordedAnswer:
    """Record an answer. The first one is final; the same answer again returns it.

    Raises NotFound, AnswerInvalid (with the places that do not fit the form), DecisionConflict (another answer is
    final, the run has ended or the deadline has passed), or DedupeConflict.
    """
    gate = _checked(connection, run_reference, gate_key, content)
    run = runs.lock(connection, run_reference)
    interaction = NewInteraction(gate_key, "answer", answered_by, {"answer": content}, dedupe_key, channel)
    interactions.is_repeated(connection, run.id, interaction)
    earlier = find(connection, run.id, gate_key)
    if earlier is None and deadlines.enforce_locked(connection, run, gate_key):
        earlier = find(connection, run.id, gate_key)
    if earlier is not None:
        return _same(earlier, content)
    if run.status.is_terminal:
        raise DecisionConflict(f"the run is {run.status}: its question can no longer be answered")
    interactions.append(connection, run.id, interaction, gate.plan_sha256)
    # The run's row is locked, so no other answer can have been stored meanwhile.
    stored = {"run_id": run.id, "gate_key": gate_key, "answer": Jsonb(content), "answered_by": answered_by}
    return fetch_one(connection, "gates.store_answer", RecordedAnswer, stored)


def _checked(connection: Connection, run_reference: str, gate_key: str, content: dict[str, Any]) -> HumanGate:
    """The gate whose form the answer fits; a form never changes, so no lock is held while the answer is checked."""
    gate = human_gates.find(connection, runs.get(connection, run_reference).id, gate_key)
    if gate is None or not gate.is_ask_gate:
        raise NotFound("gate not found")
    assert gate.form is not None, "an ask gate has a form"
    faults = forms.faults(gate.form["schema"], content)
    if faults:
        raise AnswerInvalid([(fault.pointer, fault.message) for fault in faults])
    return gate


def _same(earlier: RecordedAnswer, content: dict[str, Any]) -> RecordedAnswer:
    if earlier.answer is None:
        raise DecisionConflict(f"the deadline passed without an answer: {deadlines.REMEDY}")
    if not same_json(earlier.answer, content):
        raise DecisionConflict(f"already answered by {earlier.answered_by}: the first answer is final")
    return earlier
