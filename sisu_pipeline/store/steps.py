"""Step outputs: read back when they exist, committed once with everything that belongs to them."""

import itertools
from collections.abc import Iterator
from datetime import datetime

from resources.database import Connection
from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.domain.canonical import canonical_pieces, same_json
from sisu_pipeline.domain.errors import DeterminismBreach
from sisu_pipeline.steps.step_result import StepResult
from sisu_pipeline.store import gates, runs
from sisu_pipeline.store.outputs import artifacts
from sisu_pipeline.store.outputs.artifacts import BlobStore
from sisu_pipeline.store.runs import Run
from sql import query

_PART = 2**17  # characters: an output up to this long is sent whole


def stored(connection: Connection, run_id: str, step: StepId) -> StepResult | None:
    """The step's committed output, if any: a step whose row exists never works again."""
    row = connection.execute(query("steps.latest"), {"run_id": run_id, "step_id": step}).fetchone()
    if row is None:
        return None
    return StepResult(step, row["output"], attempt=row["attempt"], is_replay=True)


def commit(connection: Connection, run: Run, result: StepResult, blobs: BlobStore) -> None:
    """Insert the output, its artifacts and its gate, then compare; all in the caller's transaction.

    Raises DeterminismBreach when the step is stored with another output.
    """
    is_new = _insert(connection, run, result)
    if not is_new:
        _compare(connection, run, result)
    artifacts.insert(connection, run.id, result.artifacts, blobs)
    if result.gate is not None:
        gates.open_gate(connection, run.id, result.gate)
    if is_new:
        runs.set_last_step(connection, run, result.step)


def now(connection: Connection) -> datetime:
    """The database's clock: times of one table come from one place."""
    row = connection.execute(query("steps.clock")).fetchone()
    assert row is not None
    time: datetime = row["now"]
    return time


def _insert(connection: Connection, run: Run, result: StepResult) -> bool:
    """Insert the output unless the step has one. The output of a large fan-out is sent part by part."""
    row = {
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
        return connection.execute(query("steps.insert"), row | {"output": first}).fetchone() is not None
    connection.execute(query("steps.create_parts"))
    with connection.cursor() as cursor, cursor.copy(query("steps.copy_parts")) as copy:
        for place, part in enumerate(itertools.chain((first, second), parts)):
            copy.write_row((place, part))
    inserted = connection.execute(query("steps.insert_parts"), row).fetchone()
    connection.execute(query("steps.drop_parts"))
    return inserted is not None


def _parts(pieces: Iterator[str]) -> Iterator[str]:
    """The same text in parts of about `_PART` characters."""
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
