"""Questions to a coding agent, and the ledger of its sessions (`app.opencode_calls`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg.types.json import Jsonb

from resources.database import Connection
from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.domain.canonical import canonical_json, sha256_hex, sha256_json
from sisu_pipeline.domain.errors import DeterminismBreach, NotFound
from sisu_pipeline.domain.identity import artifact_uri, call_id, op_key
from sisu_pipeline.steps.step_result import Artifact
from sisu_pipeline.store.outputs import artifacts
from sisu_pipeline.store.outputs.artifacts import BlobStore
from sisu_pipeline.store.records import execute, fetch_all, fetch_first, fetch_one, fetch_value
from sisu_pipeline.store.runs import Run


@dataclass(frozen=True)
class PlanQuestion:
    """A question about one attempt of a run's plan.

    Round 1 is the plan that CompileST compiles; each request for changes is a round of its own.
    """

    op_key: str
    run_id: str
    step_id: str
    attempt: int
    round: int
    prompt: str
    prompt_sha256: str
    schema_sha256: str
    asked_at: datetime

    @property
    def is_revision(self) -> bool:
        """True when a person requested changes to an earlier plan."""
        return self.round > 1


@dataclass(frozen=True)
class Session:
    """A session with an agent, as the ledger records it. `structured` and `changes`, or `error`."""

    agent: str
    model: str | None
    agent_name: str | None
    agent_version: str | None
    session_id: str | None
    stop_reasons: list[str]
    response: str
    tool_calls: dict[str, int]
    model_calls: int
    uncounted_calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None
    peak_mb: int
    durations_ms: dict[str, int]
    transcript: dict[str, Any]
    structured: dict[str, Any] | None = None
    changes: list[dict[str, Any]] | None = None
    error: dict[str, Any] | None = None


@dataclass(frozen=True)
class Settled:
    """The row that settles a question: the answer, or the failure after which it was given up."""

    op_key: str
    prompt: str
    outcome: str
    structured: dict[str, Any] | None
    error: dict[str, Any] | None
    response: str
    tool_calls: dict[str, int]
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None
    agent_name: str | None
    agent_version: str | None


@dataclass(frozen=True)
class EndedSession:
    """A session in the ledger as people see it."""

    round: int
    agent: str
    agent_name: str | None
    agent_version: str | None
    model: str | None
    error: dict[str, Any] | None
    tool_calls: dict[str, int]
    model_calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None
    durations_ms: dict[str, int]
    transcript_uri: str
    created_at: datetime


@dataclass(frozen=True)
class Spent:
    """What the sessions of a question have used; the cost is None while none is known."""

    tokens: int
    cost_usd: Decimal | None


def ask(connection: Connection, run: Run, prompt: str, schema_sha256: str, round_number: int = 1) -> PlanQuestion:
    """Record the question of the run's current attempt. Raises DeterminismBreach when another one is recorded."""
    attempt = run.retry_count + 1
    prompt_sha256 = sha256_hex(prompt)
    key = op_key(run.id, StepId.COMPILE, attempt, schema_sha256, prompt_sha256, round_number)
    execute(
        connection,
        "questions.ask",
        {
            "op_key": key,
            "run_id": run.id,
            "step_id": StepId.COMPILE,
            "attempt": attempt,
            "round": round_number,
            "prompt": prompt,
            "prompt_sha256": prompt_sha256,
            "schema_sha256": schema_sha256,
        },
    )
    stored = of_attempt(connection, run, round_number)
    if stored is None or stored.op_key != key:
        raise DeterminismBreach(f"run {run.id} has asked another question for its plan in attempt {attempt}")
    return stored


def get(connection: Connection, key: str) -> PlanQuestion:
    """A question by its key. Raises NotFound."""
    found = fetch_first(connection, "questions.get", PlanQuestion, {"op_key": key})
    if found is None:
        raise NotFound("question not found")
    return found


def of_attempt(connection: Connection, run: Run, round_number: int = 1) -> PlanQuestion | None:
    """The question of the run's current attempt in a round, if it was asked."""
    key = {"run_id": run.id, "attempt": run.retry_count + 1, "round": round_number}
    return fetch_first(connection, "questions.of_attempt", PlanQuestion, key)


def of_round(connection: Connection, run_id: str, round_number: int) -> PlanQuestion | None:
    """The newest question of a round, whatever the attempt; None if no agent was asked in it."""
    key = {"run_id": run_id, "round": round_number}
    return fetch_first(connection, "questions.of_round", PlanQuestion, key)


def unqueued(connection: Connection, run_ids: Sequence[str] | None = None) -> list[PlanQuestion]:
    """Questions of requested changes that no queue has ever held, of these runs or of all."""
    key = {"run_ids": None if run_ids is None else list(run_ids)}
    return fetch_all(connection, "questions.unqueued", PlanQuestion, key)


def settled(connection: Connection, run: Run) -> Settled | None:
    """What settles the first question of the run's current attempt, if anything does."""
    key = {"run_id": run.id, "attempt": run.retry_count + 1}
    return fetch_first(connection, "questions.settled", Settled, key)


def is_settled(connection: Connection, key: str) -> bool:
    """Whether a question has an answer, or was given up."""
    return bool(fetch_value(connection, "questions.is_settled", {"op_key": key}))


def sessions(connection: Connection, run_id: str) -> list[EndedSession]:
    """The sessions of a run, in order."""
    return fetch_all(connection, "questions.sessions", EndedSession, {"run_id": run_id})


def count_tries(connection: Connection, key: str) -> int:
    """How many sessions the ledger has for a question."""
    return int(fetch_value(connection, "questions.count_tries", {"op_key": key}))


def spent(connection: Connection, key: str) -> Spent:
    """What the sessions of a question have used so far."""
    return fetch_one(connection, "questions.spent", Spent, {"op_key": key})


def store(
    connection: Connection,
    question: PlanQuestion,
    number: int,
    session: Session,
    *,
    is_final: bool,
    blobs: BlobStore,
) -> bool:
    """Record try `number` with its transcript as an artifact; False when another row came first."""
    transcript = _transcript(question, number, session)
    changes = None if session.changes is None else canonical_json(session.changes)
    stored = execute(
        connection,
        "questions.store",
        {
            "id": call_id(question.op_key, number),
            "op_key": question.op_key,
            "run_id": question.run_id,
            "step_id": question.step_id,
            "attempt": question.attempt,
            "try": number,
            "outcome": "failed" if session.structured is None else "answered",
            "is_final": is_final,
            "structured": None if session.structured is None else Jsonb(session.structured),
            "changes": changes,
            "changes_sha256": None if changes is None else sha256_hex(changes),
            "error": None if session.error is None else Jsonb(session.error),
            "agent": session.agent,
            "agent_name": session.agent_name,
            "agent_version": session.agent_version,
            "session_id": session.session_id,
            "stop_reasons": Jsonb(session.stop_reasons),
            "response": session.response,
            "tool_calls": Jsonb(session.tool_calls),
            "model": session.model,
            "model_calls": session.model_calls,
            "uncounted_calls": session.uncounted_calls,
            "input_tokens": session.input_tokens,
            "output_tokens": session.output_tokens,
            "cost_usd": session.cost_usd,
            "peak_mb": session.peak_mb,
            "durations_ms": Jsonb(session.durations_ms),
            "transcript_uri": transcript.uri,
            "transcript_sha256": transcript.sha256,
        },
    )
    if stored:
        artifacts.insert(connection, question.run_id, [transcript], blobs)
    return bool(stored)


def _transcript(question: PlanQuestion, number: int, session: Session) -> Artifact:
    """The transcript's artifact. Its task key is the question's, as a step's own artifacts have none."""
    uri = artifact_uri(question.run_id, question.step_id, question.op_key, f"transcript-{number}.json")
    return Artifact(
        question.step_id,
        number,
        "agent_transcript",
        uri,
        session.transcript,
        sha256_json(session.transcript),
        task_key=question.op_key,
    )
