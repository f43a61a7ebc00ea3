"""Results of tasks: one final row per task, one row per try, and the artifacts; many tasks in one transaction."""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

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
from sisu_pipeline.store.records import (
    execute,
    fetch_all,
    fetch_column,
    fetch_first,
    fetch_one,
    fetch_value,
    stream,
)
from sisu_pipeline.store.runs import Run

_BATCH = 250


@dataclass(frozen=True)
class Try:
    """A try of a task that failed and was repeated."""

    run_id: str
    task_key: str
    attempt: int
    err_code: ErrorCode
    detail: str


@dataclass(frozen=True)
class Outcome:
    """A task's final result, to be stored."""

    run_id: str
    task: Task
    attempt: int
    provider: str
    result: SandboxResult


@dataclass(frozen=True)
class Progress:
    """How much of a fan-out is done; `total` is None before DecideST is committed."""

    total: int | None
    finished: int
    failed: int


@dataclass(frozen=True)
class Durations:
    """How many tasks of a run failed, and how long each task took, in milliseconds and in fan-out order."""

    failed: int
    wall_ms: list[int]


@dataclass(frozen=True)
class _Template:
    template_key: str
    template_id: str


@dataclass(frozen=True)
class _StoredResult:
    task_key: str
    attempt: int
    retry: int
    command: str
    response: dict[str, Any]
    err_code: ErrorCode
    metrics: dict[str, Any]


@dataclass(frozen=True)
class _Tries:
    task_key: str
    tries: int


@dataclass(frozen=True)
class _Failures:
    position: int
    failures: int


def template(connection: Connection, run: Run) -> Template:
    """The run's sandbox template: the prebuilt one when one is registered for its recipe version."""
    cold = cold_template(run.recipe_id, run.recipe_version, run.recipe_hash)
    key = {"recipe_id": run.recipe_id, "recipe_version": run.recipe_version, "deps_hash": cold.deps_hash}
    registered = fetch_first(connection, "tasks.template", _Template, key)
    if registered is None:
        return cold
    if registered.template_key != cold.key:
        raise DeterminismBreach(f"sbx template drift: {registered.template_key} is registered for {cold.key}")
    return Template(cold.key, cold.deps_hash, registered.template_id)


def network(connection: Connection, run: Run) -> bool | None:
    """Whether the run's recipe allows its tasks the network; None when the deployment decides."""
    key = {"recipe_id": run.recipe_id, "recipe_version": run.recipe_version}
    allowed: bool | None = fetch_value(connection, "tasks.network", key)
    return allowed


def usage(connection: Connection, run_id: str) -> Usage:
    """The resources that the run's fan-out used."""
    return fetch_one(connection, "tasks.usage", Usage, {"run_id": run_id})


def progress(connection: Connection, run_id: str) -> Progress:
    """How much of the run's fan-out is done."""
    return fetch_one(connection, "tasks.progress", Progress, {"run_id": run_id})


def store_tries(connection: Connection, tries: Sequence[Try]) -> None:
    """Store failed tries."""
    _insert_attempts(connection, tries)


def store_outcomes(connection: Connection, outcomes: Sequence[Outcome], blobs: BlobStore) -> None:
    """Store final results with their artifacts, once each. The first result of a task is final.

    A real provider may execute a task twice with other timings, so repeated results may differ; repeated requests
    may not. Raises DeterminismBreach when another request is stored under a task's key.
    """
    if not outcomes:
        return
    inserted = set(fetch_column(connection, "tasks.insert_results", _result_columns(outcomes)))
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
    """How many tries of each task (run id, task key) are stored, by task key."""
    parameters = {"run_id": [run_id for run_id, _ in asked], "task_key": [key for _, key in asked]}
    return {row.task_key: row.tries for row in fetch_all(connection, "tasks.tries_of", _Tries, parameters)}


def finished_positions(connection: Connection, run_id: str) -> list[range]:
    """The positions in the run's fan-out that have a final result, as ascending ranges."""
    positions = fetch_value(connection, "tasks.finished_positions", {"run_id": run_id})
    return [range(positioned.lower, positioned.upper) for positioned in positions]


def failures_before(connection: Connection, run_id: str, retry: int) -> dict[int, int]:
    """How often each position of the fan-out failed before this retry; positions without a failure are absent."""
    rows = fetch_all(connection, "tasks.failures_before", _Failures, {"run_id": run_id, "retry": retry})
    return {row.position: row.failures for row in rows}


def results(connection: Connection, run_id: str) -> Generator[TaskResult, None, None]:
    """The run's task results in fan-out order, read in batches. Close the generator inside the transaction."""
    with closing(stream(connection, "tasks.results", _StoredResult, {"run_id": run_id}, _BATCH)) as stored:
        for row in stored:
            yield TaskResult(
                key=row.task_key,
                attempt=row.attempt,
                err_code=row.err_code,
                exit=row.response["exit"],
                stdout=row.response["stdout"],
                stderr=row.response["stderr"],
                metrics=row.metrics,
                sandbox_ref=row.response["sandboxRef"],
                artifact_index_ref=index_uri(run_id, row.task_key),
                files_out=tuple(row.response["filesOut"]),
                command=row.command,
                retry=row.retry,
            )


def durations(connection: Connection, run_id: str) -> Durations:
    """How long the run's tasks took."""
    return fetch_one(connection, "tasks.durations", Durations, {"run_id": run_id})


def _compare(connection: Connection, replayed: Outcome) -> None:
    key = replayed.task.key
    stored: Any = fetch_value(connection, "tasks.stored_request", {"run_id": replayed.run_id, "task_key": key})
    if stored is None or not same_json(stored, request_record(replayed.task.request)):
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
    execute(
        connection,
        "tasks.insert_attempts",
        {
            "run_id": [attempt.run_id for attempt in attempts],
            "step_id": [str(StepId.EXECUTE) for _ in attempts],
            "task_key": [attempt.task_key for attempt in attempts],
            "attempt": [attempt.attempt for attempt in attempts],
            "err_code": [str(attempt.err_code) for attempt in attempts],
            "detail": [attempt.detail for attempt in attempts],
        },
    )
