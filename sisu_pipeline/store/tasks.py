"""Task results: one final row per task, one row per try, all artifacts, many tasks in one transaction."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from psycopg.types.json import Jsonb

from resources.database import Connection
from sisu_pipeline.contracts.sandbox_request import ErrorCode, SandboxResult
from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.domain.budget import Usage
from sisu_pipeline.domain.canonical import same_json
from sisu_pipeline.domain.errors import DeterminismBreach
from sisu_pipeline.steps.execute import Task, TaskResult, Template, cold_template
from sisu_pipeline.steps.task_evidence import index_uri, request_record, task_artifacts
from sisu_pipeline.store.outputs import artifacts
from sisu_pipeline.store.outputs.artifacts import BlobStore
from sisu_pipeline.store.runs import Run
from sql import query

_READ_AT_ONCE = 250


@dataclass(frozen=True)
class Try:
    """One try of a task that did not become its result."""

    run_id: str
    task_key: str
    attempt: int
    err_code: ErrorCode
    detail: str


@dataclass(frozen=True)
class Outcome:
    """A task's final result, to be kept."""

    run_id: str
    task: Task
    attempt: int
    provider: str
    result: SandboxResult


def template(connection: Connection, run: Run) -> Template:
    """The run's sandbox template: hot when one is registered for its recipe version (reference §C5)."""
    cold = cold_template(run.recipe_id, run.recipe_version, run.recipe_hash)
    row = connection.execute(
        query("tasks.template"),
        {"recipe_id": run.recipe_id, "recipe_version": run.recipe_version, "deps_hash": cold.deps_hash},
    ).fetchone()
    if row is None:
        return cold
    if row["template_key"] != cold.key:
        raise DeterminismBreach(f"sbx template drift: {row['template_key']} is registered for {cold.key}")
    return Template(cold.key, cold.deps_hash, row["template_id"])


def network(connection: Connection, run: Run) -> bool | None:
    """Whether the run's recipe lets its tasks use the network; None when it leaves that to the deployment."""
    row = connection.execute(
        query("tasks.network"), {"recipe_id": run.recipe_id, "recipe_version": run.recipe_version}
    ).fetchone()
    return None if row is None else row["net"]


def usage(connection: Connection, run_id: str) -> Usage:
    """What the run's fan-out used."""
    row = connection.execute(query("tasks.usage"), {"run_id": run_id}).fetchone()
    assert row is not None
    return Usage(row["longest_ms"], row["artifact_bytes"], row["most_attempts"])


def keep_tries(connection: Connection, tries: Sequence[Try]) -> None:
    """Keep failed tries."""
    _insert_attempts(connection, tries)


def keep_outcomes(connection: Connection, outcomes: Sequence[Outcome], blobs: BlobStore) -> None:
    """Keep final results with their artifacts, once each; the first result of a task stands.

    A task that ran on a real provider may be answered twice with other timings; what must be the same is
    what was asked. Raises DeterminismBreach when a key was asked something else before.
    """
    if not outcomes:
        return
    inserted = {
        row["task_key"] for row in connection.execute(query("tasks.insert_results"), _result_columns(outcomes))
    }
    fresh: list[Outcome] = []
    for outcome in outcomes:
        if outcome.task.key in inserted:
            inserted.remove(outcome.task.key)  # the same task twice in one batch: the first was inserted
            fresh.append(outcome)
        else:
            _compare(connection, outcome)
    _insert_attempts(
        connection,
        [Try(o.run_id, o.task.key, o.attempt, o.result.err_code, o.result.stderr[:1000]) for o in fresh],
    )
    artifacts.insert_many(
        connection,
        (
            (outcome.run_id, artifact)
            for outcome in fresh
            for artifact in task_artifacts(outcome.run_id, outcome.task.request, outcome.result, outcome.attempt)
        ),
        blobs,
    )


def tries_of(connection: Connection, asked: Sequence[tuple[str, str]]) -> dict[str, int]:
    """How many tries of each task are on record; `asked` holds (run id, task key)."""
    parameters = {"run_id": [run_id for run_id, _ in asked], "task_key": [key for _, key in asked]}
    return {row["task_key"]: row["tries"] for row in connection.execute(query("tasks.tries_of"), parameters)}


def finished_positions(connection: Connection, run_id: str) -> list[range]:
    """The places of the run's fan-out that have their final result, as ascending ranges."""
    row = connection.execute(query("tasks.finished_positions"), {"run_id": run_id}).fetchone()
    assert row is not None
    return [range(place.lower, place.upper) for place in row["positions"]]


def failures_before(connection: Connection, run_id: str, retry: int) -> dict[int, int]:
    """How often each place of the fan-out failed before this retry; places that never did are absent."""
    rows = connection.execute(query("tasks.failures_before"), {"run_id": run_id, "retry": retry})
    return {row["position"]: row["failures"] for row in rows}


def results(connection: Connection, run_id: str) -> Generator[TaskResult, None, None]:
    """The run's task results in fan-out order, read a few hundred at a time; close it inside the transaction."""
    with connection.cursor("task_results") as cursor:
        cursor.itersize = _READ_AT_ONCE
        for row in cursor.execute(query("tasks.results"), {"run_id": run_id}):
            yield TaskResult(
                key=row["task_key"],
                attempt=row["attempt"],
                err_code=ErrorCode(row["err_code"]),
                exit=row["response"]["exit"],
                stdout=row["response"]["stdout"],
                stderr=row["response"]["stderr"],
                metrics=row["metrics"],
                sandbox_ref=row["response"]["sandboxRef"],
                artifact_index_ref=index_uri(run_id, row["task_key"]),
                files_out=tuple(row["response"]["filesOut"]),
                command=row["command"],
                retry=row["retry"],
            )


def durations(connection: Connection, run_id: str) -> tuple[int, list[int]]:
    """How many of the run's tasks failed, and how long each took (ms) in fan-out order."""
    row = connection.execute(query("tasks.durations"), {"run_id": run_id}).fetchone()
    assert row is not None
    return row["failed"], row["wall_ms"]


def _compare(connection: Connection, replayed: Outcome) -> None:
    key = replayed.task.key
    rows = connection.execute(
        query("tasks.stored_requests"), {"run_id": replayed.run_id, "task_keys": [key]}
    ).fetchall()
    if not rows or not same_json(rows[0]["request"], request_record(replayed.task.request)):
        raise DeterminismBreach(f"SBX run divergence in {replayed.run_id}:{key}: another request has this key")


def _result_columns(outcomes: Sequence[Outcome]) -> dict[str, list[object]]:
    return {
        "run_id": [outcome.run_id for outcome in outcomes],
        "step_id": [str(StepId.EXECUTE) for _ in outcomes],
        "task_key": [outcome.task.key for outcome in outcomes],
        "attempt": [outcome.attempt for outcome in outcomes],
        "position": [outcome.task.position for outcome in outcomes],
        "provider": [outcome.provider for outcome in outcomes],
        "request": [Jsonb(request_record(outcome.task.request)) for outcome in outcomes],
        "response": [Jsonb(_response(outcome)) for outcome in outcomes],
        "err_code": [str(outcome.result.err_code) for outcome in outcomes],
        "metrics": [Jsonb(outcome.result.metrics.to_json()) for outcome in outcomes],
    }


def _response(outcome: Outcome) -> dict[str, object]:
    response = outcome.result.to_json()
    response["artifactIndexRef"] = index_uri(outcome.run_id, outcome.task.key)
    response["raw"] = {**response.get("raw", {}), "attempt": outcome.attempt}
    return response


def _insert_attempts(connection: Connection, attempts: Sequence[Try]) -> None:
    if not attempts:
        return
    connection.execute(
        query("tasks.insert_attempts"),
        {
            "run_id": [attempt.run_id for attempt in attempts],
            "step_id": [str(StepId.EXECUTE) for _ in attempts],
            "task_key": [attempt.task_key for attempt in attempts],
            "attempt": [attempt.attempt for attempt in attempts],
            "err_code": [str(attempt.err_code) for attempt in attempts],
            "detail": [attempt.detail for attempt in attempts],
        },
    )
