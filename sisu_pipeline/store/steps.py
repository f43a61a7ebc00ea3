"""Step outputs: read back when they exist, committed once with everything that belongs to them."""

from datetime import datetime

from psycopg.types.json import Jsonb

from resources.database import Connection
from sisu_pipeline.canonical import same_json
from sisu_pipeline.contracts.steps import StepId
from sisu_pipeline.steps.result import StepResult
from sisu_pipeline.store import artifacts, gates, runs
from sisu_pipeline.store.artifacts import BlobStore
from sisu_pipeline.store.errors import DeterminismBreach
from sisu_pipeline.store.runs import Run
from sql import query


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
    inserted = connection.execute(
        query("steps.insert"),
        {
            "run_id": run.id,
            "step_id": result.step,
            "attempt": result.attempt,
            "phase": result.step.phase,
            "output": Jsonb(result.output),
            "trace_id": run.trace_id,
            "started_at": result.started_at or now(connection),
        },
    ).fetchone()
    if inserted is None:
        _compare(connection, run, result)
    artifacts.insert(connection, run.id, result.artifacts, blobs)
    if result.gate is not None:
        gates.open_gate(connection, run.id, result.gate)
    if inserted is not None:
        runs.set_last_step(connection, run, result.step)


def now(connection: Connection) -> datetime:
    """The database's clock: times of one table come from one place."""
    row = connection.execute(query("steps.clock")).fetchone()
    assert row is not None
    time: datetime = row["now"]
    return time


def _compare(connection: Connection, run: Run, result: StepResult) -> None:
    earlier = stored(connection, run.id, result.step)
    if earlier is None or not same_json(earlier.output, result.output):
        raise DeterminismBreach(
            f"Determinism violation in {run.id}:{result.step}:{result.attempt}: "
            "the step is stored with another output"
        )
