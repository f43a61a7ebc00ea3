"""Step outputs, committed once together with their artifacts and their gate."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from resources.database import Connection
from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.domain.canonical import canonical_pieces, same_json
from sisu_pipeline.domain.errors import DeterminismBreach
from sisu_pipeline.steps.step_result import PLAN_GATE, StepResult
from sisu_pipeline.store import gates, plans, runs
from sisu_pipeline.store.outputs import artifacts
from sisu_pipeline.store.outputs.artifacts import BlobStore
from sisu_pipeline.store.records import copy, execute, fetch_all, fetch_first, fetch_value
from sisu_pipeline.store.runs import Run

_PART = 2**17  # characters: an output up to this long is sent whole


@dataclass(frozen=True)
class StoredStep:
    """The newest committed attempt of a step."""

    step_id: StepId
    attempt: int
    phase: str
    output: dict[str, Any]
    trace_id: str | None
    span_id: str | None
    started_at: datetime
    finished_at: datetime


@dataclass(frozen=True)
class _Output:
    output: dict[str, Any]
    attempt: int


def stored(connection: Connection, run_id: str, step: StepId) -> StepResult | None:
    """The committed output of a step; None when the step is still to be executed."""
    found = fetch_first(connection, "steps.latest", _Output, {"run_id": run_id, "step_id": step})
    return None if found is None else StepResult(step, found.output, attempt=found.attempt, is_replay=True)


def output(connection: Connection, run_id: str, step: StepId) -> dict[str, Any]:
    """The committed output of a step. Raises LookupError before the step is committed."""
    found = stored(connection, run_id, step)
    if found is None:
        raise LookupError(f"{step} of {run_id} has no row yet")
    return found.output


def of_run(connection: Connection, run_id: str) -> list[StoredStep]:
    """The committed steps of a run, in the order they were executed."""
    return fetch_all(connection, "steps.of_run", StoredStep, {"run_id": run_id})


def commit(connection: Connection, run: Run, result: StepResult, blobs: BlobStore) -> None:
    """Insert a step's output, its artifacts and its gate in the caller's transaction.

    Raises DeterminismBreach when the step is stored with another output.
    """
    is_new = _insert(connection, run, result)
    if not is_new:
        _compare(connection, run, result)
    artifacts.insert(connection, run.id, result.artifacts, blobs)
    if is_new and result.sealed is not None:
        plans.store_sealed(connection, run.id, 1, result.sealed)
    if result.gate is not None:
        gates.open_gate(connection, run.id, result.gate)
        if result.gate.purpose == PLAN_GATE:
            gates.approve_automatically(connection, run, result.gate)
    if is_new:
        runs.set_last_step(connection, run, result.step)


def now(connection: Connection) -> datetime:
    """The time by the database's clock, by which all times of a table are comparable."""
    time: datetime = fetch_value(connection, "steps.clock")
    return time


def _insert(connection: Connection, run: Run, result: StepResult) -> bool:
    """Insert the output, a large one in parts; returns False when the step has one already."""
    columns = {
        "run_id": run.id,
        "step_id": result.step,
        "attempt": result.attempt,
        "phase": result.step.phase,
        "trace_id": run.trace_id,
        "started_at": result.started_at or now(connection),
    }
    parts = _parts(canonical_pieces(result.output))
    first, second = next(parts), next(parts, None)
    if second is None:
        return execute(connection, "steps.insert", columns | {"output": first}) > 0
    execute(connection, "steps.create_parts")
    copy(connection, "steps.copy_parts", enumerate(itertools.chain((first, second), parts)))
    inserted = execute(connection, "steps.insert_parts", columns)
    execute(connection, "steps.drop_parts")
    return inserted > 0


def _parts(pieces: Iterator[str]) -> Iterator[str]:
    """Join pieces of a text into parts of about `_PART` characters."""
    held: list[str] = []
    length = 0
    for piece in pieces:
        held.append(piece)
        length += len(piece)
        if length >= _PART:
            yield "".join(held)
            held, length = [], 0
    if held:
        yield "".join(held)


def _compare(connection: Connection, run: Run, result: StepResult) -> None:
    earlier = stored(connection, run.id, result.step)
    if earlier is None or not same_json(earlier.output, result.output):
        raise DeterminismBreach(
            f"Determinism violation in {run.id}:{result.step}:{result.attempt}: "
            "the step is stored with another output"
        )
