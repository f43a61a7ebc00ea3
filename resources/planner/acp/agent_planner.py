"""The planner that asks a coding agent: one process in one sandbox per question, ended for good with the answer."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from resources.planner.acp.agent_errors import AgentFailure, FailureCode
from resources.planner.acp.agent_lines import AgentLines
from resources.planner.acp.agent_session import AgentSession, SessionFacts, opened
from resources.planner.acp.agent_settings import AgentSettings, ModelSettings, PlanLimits
from resources.planner.acp.box.agent_box import AgentBoxes, Box
from resources.planner.acp.box.model_proxy import ModelProxy
from resources.planner.acp.box.model_usage import Usage, exceeded
from resources.planner.acp.plan_tool import PlanTool
from resources.planner.acp.scratch import Changes, Scratch
from resources.planner.acp.transcript import Transcript
from resources.sandbox.local.isolation.bwrap import BOX_WORK
from sisu_pipeline.contracts.agent_plan import AgentPlan

_LONGEST_CALL = 4 * 1024 * 1024
_NO_MODEL = ModelSettings(url="http://127.0.0.1:9", name="none", key="")
_PERMANENT_STATUS = frozenset({401, 402, 403, 404})


@dataclass(frozen=True)
class AgentQuestion:
    """A question to an agent: its key, the prompts (all but the first repair a turn without a plan), the limits."""

    key: str
    prompts: Sequence[str]
    scratch: Scratch
    limits: PlanLimits = field(default_factory=PlanLimits)


@dataclass(frozen=True)
class Evidence:
    """What is known about a session, whether it gave an answer or failed."""

    agent_name: str | None = None
    agent_version: str | None = None
    session_id: str | None = None
    stop_reasons: tuple[str, ...] = ()
    durations_ms: dict[str, int] = field(default_factory=dict)
    tool_calls: dict[str, int] = field(default_factory=dict)
    model_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    uncounted_calls: int = 0
    cost_usd: Decimal | None = None
    peak_mb: int = 0
    text: str = ""
    transcript: dict[str, Any] = field(default_factory=dict)


NO_EVIDENCE = Evidence()
"""The evidence of a session that did not start."""


@dataclass(frozen=True)
class AgentAnswer:
    """A plan, the changes that the agent made for it, and the evidence."""

    plan: AgentPlan
    changes: Changes
    evidence: Evidence

    @property
    def structured(self) -> dict[str, Any]:
        """The plan with its changes, as CompileST reads it."""
        patches = {"patchPlan": self.changes.patches} if self.changes.patches else {}
        return {**self.plan.to_json(), **patches}


class QuestionFailed(Exception):
    """A question without an answer, with the evidence of its session."""

    def __init__(self, failure: AgentFailure, evidence: Evidence) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.evidence = evidence


class AgentPlanner:
    """Asks one kind of agent. Belongs to one event loop at a time."""

    def __init__(self, settings: AgentSettings) -> None:
        """Raises AgentFailure when the agent's program is missing, or SandboxUnavailable."""
        self._settings = settings
        self._boxes = AgentBoxes.open(settings)
        self._limit = asyncio.Semaphore(settings.concurrency)

    def close(self) -> None:
        """End every agent and remove what they left."""
        self._boxes.close()

    async def ask(self, question: AgentQuestion) -> AgentAnswer:
        """The agent's answer. Raises QuestionFailed. When canceled, ends the agent first."""
        async with self._limit:
            asked = _Asked(self._settings, self._boxes, question)
            try:
                changes = await asked.run()
            except AgentFailure as failure:
                raise QuestionFailed(failure, asked.evidence()) from failure
            assert asked.tool.plan is not None, "a conversation without a plan fails"
            return AgentAnswer(asked.tool.plan, changes, asked.evidence())

    async def check(self) -> SessionFacts:
        """Start the agent, open a session and end it: proof that questions can be asked. Raises AgentFailure."""
        facts = SessionFacts()
        async with self._boxes.prepare("check") as box:
            proxy = ModelProxy(self._settings.model or _NO_MODEL, PlanLimits())
            asked = _Connection(self._settings, self._boxes, box, facts, Transcript(), proxy, PlanTool())
            async with asked.session() as session:
                await session.hello()
                await session.open(BOX_WORK, self._boxes.plan_server)
                await session.wait_for_tool(asked.tool)
        return facts


@dataclass
class _Connection:
    """A prepared sandbox with the servers of its two sockets."""

    settings: AgentSettings
    boxes: AgentBoxes
    box: Box
    facts: SessionFacts
    transcript: Transcript
    proxy: ModelProxy
    tool: PlanTool
    peak_mb: int = 0

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[AgentSession]:
        """Start the agent and connect to it; at the end, no process of it is left."""
        server = await asyncio.start_unix_server(self.tool.serve, sock=self.box.plan, limit=_LONGEST_CALL)
        async with (
            server,
            self.proxy.serve(self.box.model),
            self.boxes.start(self.box) as (process, reader, writer),
        ):
            lines = AgentLines(reader, writer)
            session = AgentSession(
                self.settings,
                process,
                lines,
                self.transcript,
                self.facts,
                lambda over: model_problem(self.proxy, over),
            )
            try:
                async with opened(session):
                    yield session
            finally:
                self.peak_mb = process.peak_mb


class _Asked:
    """One question while it is asked."""

    def __init__(self, settings: AgentSettings, boxes: AgentBoxes, question: AgentQuestion) -> None:
        self._settings = settings
        self._boxes = boxes
        self._question = question
        self._began = time.monotonic()
        self._facts = SessionFacts()
        key = settings.model.key if settings.model is not None else ""
        self._transcript = Transcript(secrets=(key,) if key else ())
        self._proxy = ModelProxy(settings.model or _NO_MODEL, question.limits)
        self._peak_mb = 0
        self.tool = PlanTool()

    async def run(self) -> Changes:
        """Ask, end the agent, and read its changes. Raises AgentFailure."""
        try:
            async with self._boxes.prepare(self._question.key) as box:
                await asyncio.to_thread(self._fill, box)
                connection = _Connection(
                    self._settings, self._boxes, box, self._facts, self._transcript, self._proxy, self.tool
                )
                try:
                    async with connection.session() as session:
                        await session.hello()
                        session_id = await session.open(BOX_WORK, self._boxes.plan_server)
                        await session.wait_for_tool(self.tool)
                        await session.converse(session_id, self._question.prompts, self.tool)
                finally:
                    self._peak_mb = connection.peak_mb
                changes = await asyncio.to_thread(self._question.scratch.changes, box.folders.work)
            self._check_budget()
            return changes
        except OSError as error:
            raise AgentFailure(FailureCode.BOX, f"the agent's sandbox failed: {error}") from error
        finally:
            self._facts.durations_ms["all"] = round((time.monotonic() - self._began) * 1000)

    def evidence(self) -> Evidence:
        """The evidence so far."""
        usage: Usage = self._proxy.usage
        return Evidence(
            agent_name=self._facts.agent_name,
            agent_version=self._facts.agent_version,
            session_id=self._facts.session_id,
            stop_reasons=tuple(self._facts.stop_reasons),
            durations_ms=dict(self._facts.durations_ms),
            tool_calls=self._transcript.tool_calls,
            model_calls=usage.calls,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            uncounted_calls=usage.uncounted_calls,
            cost_usd=None if self._settings.model is None else usage.cost_usd(self._settings.model),
            peak_mb=self._peak_mb,
            text=self._transcript.text,
            transcript=self._document(),
        )

    def _document(self) -> dict[str, Any]:
        calls = [
            {"at": round(call.at, 3), "arguments": call.arguments, "accepted": call.is_accepted}
            for call in self.tool.calls
        ]
        return {
            "version": 1,
            "frames": self._transcript.frames,
            "droppedFrames": self._transcript.dropped,
            "permissions": self._transcript.permissions,
            "planCalls": calls,
        }

    def _check_budget(self) -> None:
        """The last call of the model may have exceeded the budget: then the plan is not used."""
        model = self._settings.model
        reason = None if model is None else exceeded(self._proxy.usage, self._question.limits, model)
        if reason is not None:
            raise AgentFailure(FailureCode.BUDGET, reason)

    def _fill(self, box: Box) -> None:
        self._question.scratch.fill(box.folders.work)
        self._boxes.give(box)


def model_problem(proxy: ModelProxy, is_over: bool) -> AgentFailure | None:
    """Why the model cannot continue: the budget, or an error that would repeat itself.

    A rejected request (400) is the agent's to correct; it counts once the agent has given up (`is_over`).
    """
    if proxy.broken_budget is not None:
        return AgentFailure(FailureCode.BUDGET, proxy.broken_budget)
    status = proxy.last_status
    if status in _PERMANENT_STATUS or (is_over and status == 400):
        return AgentFailure(
            FailureCode.MODEL,
            f"the model's provider answered {status}: check OC_PROVIDER_URL, OC_MODEL and OC_API_KEY",
        )
    return None
