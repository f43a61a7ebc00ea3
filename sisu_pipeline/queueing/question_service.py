"""Execution of a question from `compileQ`: ask the agent, record the session, retry what may pass."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from resources.failure_classification import database_kind, kind_of
from resources.git.git_errors import GitRefused, GitUnavailable
from resources.planner import replay_planner
from resources.planner.acp import recording
from resources.planner.acp.agent_errors import AgentFailure, FailureCode
from resources.planner.acp.agent_planner import (
    NO_EVIDENCE,
    AgentAnswer,
    AgentQuestion,
    Evidence,
    QuestionFailed,
)
from resources.planner.acp.agent_settings import AgentSettings, PlanLimits
from resources.planner.acp.recording import Recording
from resources.planner.acp.scratch import FilesScratch, GitScratch, Scratch
from resources.planner.planner_port import Question
from resources.retry import TEN_MINUTES, retry_passing_async
from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.contracts.step_outputs import PlannerOutput
from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.domain.changes.repository_base import InputInvalid, RepositoryBase, content_of
from sisu_pipeline.domain.changes.workspace_files import WorkspaceFilesInvalid, intent_files
from sisu_pipeline.domain.failure_kind import FailureKind
from sisu_pipeline.queueing.agent_provider import QuestionPlanner
from sisu_pipeline.steps import agent_prompts, compile
from sisu_pipeline.store import intents, plan_questions, runs
from sisu_pipeline.store.plan_questions import PlanQuestion, Session, Spent
from sisu_pipeline.store.runs import Run
from sisu_pipeline.workflow import run_base
from sisu_pipeline.workflow.dependencies import Dependencies
from sisu_pipeline.workflow.planning import plan_rounds

MOST_TRIES = 3
FIRST_BACKOFF_S = 1.0
BACKOFF_FACTOR = 2.0
REPAIRS = 2

Result = TypeVar("Result")


@dataclass(frozen=True)
class Work:
    """A question with what its session needs; `tries` sessions were recorded before."""

    question: PlanQuestion
    run: Run
    intent: Intent
    tries: int
    spent: Spent

    @property
    def is_last_try(self) -> bool:
        """Whether a failure of the next session gives the question up."""
        return self.tries + 1 >= MOST_TRIES


@dataclass(frozen=True)
class QuestionService:
    """Asks the questions of runs. `records` is the folder that receives answers and sessions as fixtures."""

    dependencies: Dependencies
    planner: QuestionPlanner
    settings: AgentSettings
    records: Path | None = None

    async def settle(self, op_key: str) -> str:
        """Ask until the question is settled; returns how, for the record of the queue."""
        while (work := await _persistently(partial(self._work, op_key))) is not None:
            session, is_final = await self._session(work)
            store = self._settle_round if work.question.is_revision else self._store
            await _persistently(partial(store, work, session, is_final))
            if not is_final:
                await asyncio.sleep(FIRST_BACKOFF_S * BACKOFF_FACTOR**work.tries)
        return "settled"

    async def _session(self, work: Work) -> tuple[Session, bool]:
        """One session with the agent, and whether it settles the question."""
        crash_point("question.session.before")
        try:
            limits = _limits(work.run, work.spent, self.settings)
            base = await _persistently(partial(run_base.resolve, self.dependencies, work.run.id, work.intent))
            scratch = await _persistently(partial(self._scratch, work, base))
            question = AgentQuestion(work.question.op_key, _prompts(work), scratch, limits)
            answer = await self.planner.ask(question)
        except QuestionFailed as failed:
            session = replace(describe(self.settings, failed.evidence), error=_error(failed.failure))
            return session, work.is_last_try or kind_of(failed.failure) is not FailureKind.PASSING
        except AgentFailure as failure:
            return replace(describe(self.settings, NO_EVIDENCE), error=_error(failure)), True
        except GitUnavailable as unavailable:
            away = AgentFailure(FailureCode.BOX, str(unavailable))
            return replace(describe(self.settings, NO_EVIDENCE), error=_error(away)), work.is_last_try
        except (WorkspaceFilesInvalid, InputInvalid, GitRefused) as invalid:
            refused = AgentFailure(FailureCode.CHANGES, str(invalid))
            return replace(describe(self.settings, NO_EVIDENCE), error=_error(refused)), True
        crash_point("question.session.after")
        if self.records is not None:
            await asyncio.to_thread(_record, self.records, question, _recorded_question(work, base), answer)
        session = describe(self.settings, answer.evidence)
        return replace(session, structured=answer.structured, changes=answer.changes.patches), True

    def _scratch(self, work: Work, base: RepositoryBase | None) -> Scratch:
        """The agent's working directory: the commit of the run's repository, or the intent's files."""
        if base is None:
            return FilesScratch(intent_files(work.intent))
        return GitScratch(run_base.open_base(self.dependencies, base), base.commit, base.subdirectory)

    def _work(self, op_key: str) -> Work | None:
        """None when the question is settled or its run has ended."""
        with self.dependencies.database.connect() as connection:
            question = plan_questions.get(connection, op_key)
            run = runs.get(connection, question.run_id)
            if run.status.is_terminal or question.attempt != run.retry_count + 1:
                return None
            if plan_questions.is_settled(connection, op_key):
                return None
            intent = intents.verified(connection, run.intent_id)
            tries = plan_questions.count_tries(connection, op_key)
            return Work(question, run, intent, tries, plan_questions.spent(connection, op_key))

    def give_up(self, op_key: str, message: str) -> None:
        """Settle the question of a round with a failure that is not the agent's, so that its gate opens again."""
        work = self._work(op_key)
        if work is not None:
            error = {"code": FailureCode.BOX, "message": message}
            self._settle_round(work, replace(describe(self.settings, NO_EVIDENCE), error=error), is_final=True)

    def _settle_round(self, work: Work, session: Session, is_final: bool) -> None:
        """Record a session of a round with the version of the plan that it led to."""
        session, plan = plan_rounds.checked(self.dependencies, work.run, work.intent, session)
        with self.dependencies.database.connect() as connection:
            plan_rounds.settle(
                self.dependencies, connection, work.question, work.tries + 1, session, plan, is_final=is_final
            )
            crash_point("question.commit.before")
        crash_point("question.commit.after")

    def _store(self, work: Work, session: Session, is_final: bool) -> None:
        with self.dependencies.database.connect() as connection:
            plan_questions.store(
                connection,
                work.question,
                work.tries + 1,
                session,
                is_final=is_final,
                blobs=self.dependencies.blobs,
            )
            crash_point("question.commit.before")
        crash_point("question.commit.after")


def _prompts(work: Work) -> list[str]:
    return [work.question.prompt, *[agent_prompts.REPAIR] * REPAIRS]


def _recorded_question(work: Work, base: RepositoryBase | None) -> Question:
    """The question that a recorded answer is found by in `OC_MODE=replay`."""
    intent = content_of(work.intent, base)
    if work.question.is_revision:
        return plan_rounds.recorded_question(intent, work.question.prompt)
    return Question("plan", compile.plan_prompt(intent), intent)


def _record(folder: Path, asked: AgentQuestion, question: Question, answer: AgentAnswer) -> None:
    """Store the answer as the fixture of a planner's question, and the session by the question to the agent."""
    responses = [answer.evidence.text] if answer.evidence.text else []
    output = PlannerOutput(
        prompt=question.prompt, toolcalls=[], responses=responses, diffs=[], structured=answer.structured
    )
    replay_planner.record(folder, question, output)
    session = Recording(
        question.intent,
        [*asked.prompts],
        answer.plan.to_json(),
        answer.changes.patches,
        answer.evidence.transcript,
        answer.changes.before,
    )
    if "frames" in session.transcript:
        recording.write(recording.session_path(folder, asked.prompts[0], asked.scratch.content_key()), session)


def describe(settings: AgentSettings, evidence: Evidence) -> Session:
    """A session as the ledger records it, without its outcome."""
    return Session(
        agent=" ".join(settings.argv),
        model=None if settings.model is None else settings.model.name,
        agent_name=evidence.agent_name,
        agent_version=evidence.agent_version,
        session_id=evidence.session_id,
        stop_reasons=[*evidence.stop_reasons],
        response=evidence.text,
        tool_calls=evidence.tool_calls,
        model_calls=evidence.model_calls,
        uncounted_calls=evidence.uncounted_calls,
        input_tokens=evidence.input_tokens,
        output_tokens=evidence.output_tokens,
        cost_usd=evidence.cost_usd,
        peak_mb=evidence.peak_mb,
        durations_ms=evidence.durations_ms,
        transcript=evidence.transcript,
    )


def _error(failure: AgentFailure) -> dict[str, Any]:
    return {"code": failure.code, "message": str(failure)}


def _limits(run: Run, spent: Spent, settings: AgentSettings) -> PlanLimits:
    """What the run's budget leaves for another session. Raises AgentFailure."""
    budget = run.budget or {}
    tokens, dollars = budget.get("maxPlanTokens"), budget.get("maxPlanCostUSD")
    has_prices = settings.model is not None and settings.model.input_price is not None
    if dollars is not None and not has_prices:
        raise AgentFailure(
            FailureCode.BUDGET,
            "maxPlanCostUSD cannot be kept without prices: set OC_INPUT_PRICE and OC_OUTPUT_PRICE, or limit "
            "maxPlanTokens instead",
        )
    left = PlanLimits(
        None if tokens is None else tokens - spent.tokens,
        None if dollars is None else Decimal(str(dollars)) - (spent.cost_usd or 0),
    )
    if (left.tokens is not None and left.tokens <= 0) or (left.cost_usd is not None and left.cost_usd <= 0):
        raise AgentFailure(FailureCode.BUDGET, "budget exceeded: earlier sessions have used up the plan's budget")
    return left


async def _persistently(work: Callable[[], Result]) -> Result:
    """The result of work in a thread, repeated while the database is away, so that no session is lost to it."""
    return await retry_passing_async(
        lambda: asyncio.to_thread(work),
        TEN_MINUTES,
        lambda failure: database_kind(failure) is FailureKind.PASSING,
    )
