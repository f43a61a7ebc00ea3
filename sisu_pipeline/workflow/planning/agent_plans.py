"""Plans by a coding agent: the question of a run, and its answer from the ledger."""

from sisu_pipeline.contracts.agent_plan import plan_schema
from sisu_pipeline.contracts.step_outputs import PlannerOutput, ToolCall
from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.domain.canonical import sha256_json
from sisu_pipeline.steps import agent_prompts
from sisu_pipeline.store import intents, plan_questions, runs
from sisu_pipeline.store.plan_questions import PlanQuestion, Settled
from sisu_pipeline.store.runs import Run
from sisu_pipeline.workflow.dependencies import Dependencies


class PlanningFailed(Exception):
    """The agent gave no plan; the message is its failure's."""


class PlanMissing(Exception):
    """The run has asked an agent for its plan, and there is no answer."""


def ask(dependencies: Dependencies, intent_id: str) -> tuple[Run, PlanQuestion] | None:
    """Record the question of a run that has no plan; None when the run needs none.

    Idempotent. The caller enqueues the question, whether it was recorded now or before.
    """
    with dependencies.database.connect() as connection:
        run = runs.lock(connection, intent_id)
        if run.last_step is not None or run.status.is_terminal:
            return None
        if plan_questions.settled(connection, run) is not None:
            return None
        intent = intents.verified(connection, run.intent_id)
        schema_sha256 = sha256_json(plan_schema())
        question = plan_questions.ask(connection, run, agent_prompts.plan_prompt(intent), schema_sha256)
        crash_point("question.ask.before")
    crash_point("question.ask.after")
    return run, question


def answer(dependencies: Dependencies, run: Run) -> PlannerOutput | None:
    """The agent's answer to the run's question; None when no agent makes its plan.

    A run that has asked an agent gets that answer, whatever the mode is now: its CompileST is in a later segment.
    Raises PlanningFailed or PlanMissing.
    """
    if not dependencies.asks_agent and run.segment == 1:
        return None
    with dependencies.database.connect() as connection:
        settled = plan_questions.settled(connection, run)
        is_asked = settled is not None or plan_questions.of_attempt(connection, run) is not None
    if not is_asked and not dependencies.asks_agent:
        return None
    if settled is None:
        raise PlanMissing(f"run {run.id} waits for the plan of a coding agent: start it again in OC_MODE=live")
    if settled.structured is None:
        error = settled.error or {}
        raise PlanningFailed(f"Planning failed [{error.get('code')}]: {error.get('message')}")
    return planner_output(settled)


def planner_output(settled: Settled) -> PlannerOutput:
    """A row of the ledger as the answer of a planner."""
    calls = [ToolCall(name=kind, args={"count": count}) for kind, count in settled.tool_calls.items()]
    responses = [settled.response] if settled.response else []
    usage = {"inputTokens": settled.input_tokens, "outputTokens": settled.output_tokens}
    return PlannerOutput(
        prompt=settled.prompt,
        toolcalls=calls,
        responses=responses,
        diffs=[],
        structured=settled.structured,
        usage=usage,
    )
