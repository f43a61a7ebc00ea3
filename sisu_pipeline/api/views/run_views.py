"""Views of runs and queues, composed from records."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from resources.database import Connection
from sisu_pipeline.api.http.query_parameters import RunsQuery
from sisu_pipeline.api.schemas.deployment_schemas import QueueDepth, QueueDepthRow, RunCount, VersionDepth
from sisu_pipeline.api.schemas.planning_schemas import PlanningSession, PlanningView, PushView, RunView
from sisu_pipeline.api.schemas.run_schemas import (
    ArtifactView,
    DecisionView,
    GateView,
    PolicyRef,
    RecipeRef,
    RunHead,
    RunPage,
    RunProgress,
    StepView,
    TaskCounts,
    VoteView,
)
from sisu_pipeline.api.views.bounded_output import bounded_output
from sisu_pipeline.contracts.configuration.queue_settings import StartLimit
from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.domain.identity import checked_reference
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store import gates, human_gates, plan_questions, plans, runs, steps, tasks
from sisu_pipeline.store.human_gates import HumanGate
from sisu_pipeline.store.outputs import artifacts, pushes, run_results
from sisu_pipeline.store.outputs.run_results import Ending
from sisu_pipeline.store.plan_questions import EndedSession
from sisu_pipeline.store.queues import partition_limits
from sisu_pipeline.store.queues import queue_depth as depth
from sisu_pipeline.store.rules import quorum
from sisu_pipeline.store.runs import Run
from sisu_pipeline.store.steps import StoredStep

MAX_ARTIFACTS = 1000


def run_view(connection: Connection, run_reference: str, starts: StartLimit | None = None) -> RunView:
    """A run with its steps and artifacts, by run id or workflow id. Raises NotFound.

    `starts`, here and below, is the limit of intents that start, which a run may wait for.
    """
    run = runs.get(connection, checked_reference(run_reference))
    return RunView(
        **progress(connection, run, starts),
        planning=_planning(connection, run),
        push=_push(connection, run),
        steps=[_step(step) for step in steps.of_run(connection, run.id)],
        artifacts=[ArtifactView(**vars(card)) for card in artifacts.of_run(connection, run.id, MAX_ARTIFACTS)],
        artifact_count=artifacts.count_of_run(connection, run.id),
    )


def run_progress(connection: Connection, run_reference: str, starts: StartLimit | None = None) -> RunProgress:
    """The progress of a run, by run id or workflow id. Raises NotFound."""
    return RunProgress(**progress(connection, runs.get(connection, checked_reference(run_reference)), starts))


def run_page(connection: Connection, wanted: RunsQuery) -> RunPage:
    """A page of runs. Raises NotFound when the run `before` does not exist."""
    if wanted.before is not None:
        runs.get(connection, wanted.before)
    # One more than requested shows whether another page follows.
    found = runs.page(connection, limit=wanted.limit + 1, before=wanted.before, status=wanted.status)
    page = found[: wanted.limit]
    follows = len(found) > len(page)
    return RunPage(runs=[RunHead(**head(run)) for run in page], next_before=page[-1].id if follows else None)


def queue_depth(connection: Connection) -> QueueDepth:
    """The work on the queues by state and by version, and the number of runs by status."""
    backlog = depth.backlog(connection)
    return QueueDepth(
        queues=[QueueDepthRow(**vars(work)) for work in backlog.by_state],
        runs=[
            RunCount(
                status=counted.status,
                count=counted.runs,
                oldest_created_at=_milliseconds(counted.oldest_created_at),
            )
            for counted in runs.count_by_status(connection)
        ],
        versions=[VersionDepth(**vars(work)) for work in backlog.by_version],
    )


def head(run: Run) -> dict[str, Any]:
    """The fields of RunHead."""
    return {
        "run_id": run.id,
        "workflow_id": run.workflow_id,
        "intent_id": run.intent_id,
        "status": run.status,
        "last_step": None if run.last_step is None else StepId(run.last_step),
        "error": run.error,
        "next_action": run.next_action,
        "retry_count": run.retry_count,
        "recipe_ref": RecipeRef(id=run.recipe_id, v=str(run.recipe_version)),
        "recipe_hash": run.recipe_hash,
        "policy_ref": PolicyRef(id=run.policy_id, v=str(run.policy_version), sha256=run.policy_sha256),
        "intent_hash": run.intent_id.removeprefix("ih_"),
        "trace_id": run.trace_id,
        "tenant_id": run.tenant_id,
        "queue_partition_key": run.queue_partition_key,
        "deduplication_id": run.deduplication_id,
        "task_key": run.task_key,
        "lane": run.lane,
        "priority": run.priority,
        "dagster_run_id": run.dagster_run_id,
        "created_at": run.created_at,
        "updated_at": run.updated_at,
    }


def progress(connection: Connection, run: Run, starts: StartLimit | None = None) -> dict[str, Any]:
    """The fields of RunProgress."""
    opened = [gate for gate in human_gates.of_run(connection, run.id) if gate.is_plan_gate]
    edited_sha256 = plans.edited_hash(connection, run.id)
    decision, counts = _decision(connection, run), tasks.progress(connection, run.id)
    # A run that waits for a decision, or for a task that is executed, waits for no limit: spare the query.
    waits = (
        counts.total is not None and counts.finished < counts.total
        if run.status is RunStatus.RUNNING
        else not run.status.is_terminal and (run.status is not RunStatus.WAITING_INPUT or decision is not None)
    )
    return {
        **head(run),
        "gate": _gate(opened[0], edited_sha256) if opened else None,
        "decision": decision,
        "tasks": TaskCounts(**vars(counts)),
        "outcome": outcomes(connection, [run])[run.id] if run.status.is_terminal else None,
        "waits_for": partition_limits.waited_for(connection, run.id, starts) if waits else None,
    }


def outcomes(connection: Connection, ended: Sequence[Run]) -> dict[str, str]:
    """The outcomes of runs that have ended in a few words, by run id."""
    found = run_results.endings(connection, [run.id for run in ended])
    return {run.id: _outcome(found[run.id], run) for run in ended}


def _outcome(ending: Ending, run: Run) -> str:
    last_step = None if run.last_step is None else StepId(run.last_step)
    return ending.outcome(run.status, last_step, run.error) or str(run.status)


def _step(stored: StoredStep) -> StepView:
    output, is_cut = bounded_output(stored.output)
    return StepView(**{**vars(stored), "output": output}, output_is_cut=is_cut)


def _push(connection: Connection, run: Run) -> PushView | None:
    push = pushes.of_run(connection, run.id)
    return None if push is None else PushView(**vars(push))


def _planning(connection: Connection, run: Run) -> PlanningView | None:
    question = plan_questions.of_attempt(connection, run)
    ended = plan_questions.sessions(connection, run.id)
    if question is None and not ended:
        return None
    budget = run.budget or {}
    return PlanningView(
        max_plan_tokens=budget.get("maxPlanTokens"),
        max_plan_cost_usd=budget.get("maxPlanCostUSD"),
        sessions=[_session(session) for session in ended],
    )


def _session(ended: EndedSession) -> PlanningSession:
    named = " ".join(filter(None, (ended.agent_name, ended.agent_version)))
    return PlanningSession(
        round=ended.round,
        outcome="answered" if ended.error is None else "failed",
        error=None if ended.error is None else str(ended.error["message"]),
        agent=named or ended.agent,
        model=ended.model,
        tool_calls=ended.tool_calls,
        model_calls=ended.model_calls,
        tokens=ended.input_tokens + ended.output_tokens,
        cost_usd=None if ended.cost_usd is None else float(ended.cost_usd),
        duration_ms=ended.durations_ms.get("all", 0),
        transcript_uri=ended.transcript_uri,
        created_at=ended.created_at,
    )


def _gate(gate: HumanGate, edited_sha256: str | None) -> GateView:
    return GateView(
        gate_key=gate.gate_key,
        plan_sha256=edited_sha256 or gate.plan_sha256,
        opened_at=gate.created_at,
        deadline_at=gate.deadline_at,
        on_timeout=gate.on_timeout,
    )


def _decision(connection: Connection, run: Run) -> DecisionView | None:
    decided = gates.decision(connection, run.id)
    if decided is None:
        return None
    return DecisionView(
        decision=decided.decision,
        decided_by=decided.decided_by,
        decided_at=decided.decided_at,
        notes=decided.notes,
        plan_sha256=decided.plan_sha256,
        channel=decided.channel,
        record=decided.record,
        votes=[VoteView(**vars(vote)) for vote in quorum.recorded_votes(connection, run.id)],
    )


def _milliseconds(time: datetime | None) -> int | None:
    return None if time is None else int(time.timestamp() * 1000)
