"""One session with an agent: hello, session, prompts until a plan is accepted, each with its deadline."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import acp
from acp import schema
from acp.client.connection import ClientSideConnection
from acp.exceptions import RequestError
from pydantic import ValidationError

from resources.planner.acp.agent_client import AgentClient, RecordedLines
from resources.planner.acp.agent_errors import AgentFailure, FailureCode
from resources.planner.acp.agent_lines import AgentLines
from resources.planner.acp.agent_settings import AgentSettings
from resources.planner.acp.box.agent_process import AgentProcess
from resources.planner.acp.plan_tool import SERVER, PlanTool
from resources.planner.acp.transcript import Transcript
from sisu_pipeline.domain.plain_json import plain_text

T = TypeVar("T")

_AUTHENTICATION_REQUIRED = -32000
_CHECK_SECONDS = 0.2
_EXIT_SECONDS = 0.5
_NO_CAPABILITIES = schema.ClientCapabilities(
    fs=schema.FileSystemCapabilities(read_text_file=False, write_text_file=False), terminal=False
)


@dataclass
class SessionFacts:
    """What a session has shown of its agent so far, for the ledger."""

    agent_name: str | None = None
    agent_version: str | None = None
    session_id: str | None = None
    stop_reasons: list[str] = field(default_factory=list)
    durations_ms: dict[str, int] = field(default_factory=dict)


class AgentSession:
    """A session with a started agent. Every method raises AgentFailure."""

    def __init__(
        self,
        settings: AgentSettings,
        process: AgentProcess,
        lines: AgentLines,
        transcript: Transcript,
        facts: SessionFacts,
        model_problem: Callable[[bool], AgentFailure | None],
    ) -> None:
        self._settings = settings
        self._process = process
        self._lines = lines
        self._transcript = transcript
        self._facts = facts
        self._model_problem = model_problem
        self._began = time.monotonic()
        transport: Any = RecordedLines(lines, transcript)
        client: Any = AgentClient(transcript)
        self._agent = ClientSideConnection(client, transport)

    async def hello(self) -> None:
        """Initialize the connection and compare the protocol's version, which the SDK does not."""
        request = self._agent.initialize(
            protocol_version=acp.PROTOCOL_VERSION,
            client_capabilities=_NO_CAPABILITIES,
            client_info=schema.Implementation(name="sisu", version="1"),
        )
        answer = await self._within("initialize", request)
        if answer.protocol_version != acp.PROTOCOL_VERSION:
            raise AgentFailure(
                FailureCode.PROTOCOL,
                f"the agent speaks version {answer.protocol_version} of the Agent Client Protocol, and this "
                f"release version {acp.PROTOCOL_VERSION}: install a matching version of the agent",
            )
        if answer.agent_info is not None:
            self._facts.agent_name = plain_text(answer.agent_info.name[:200])
            self._facts.agent_version = plain_text(answer.agent_info.version[:200])

    async def open(self, directory: str, plan_server: tuple[str, list[str]]) -> str:
        """Open a session in a directory, with the server of the tool."""
        command, arguments = plan_server
        server = schema.McpServerStdio(name=SERVER, command=command, args=arguments, env=[])
        answer = await self._within("session/new", self._agent.new_session(cwd=directory, mcp_servers=[server]))
        self._facts.session_id = plain_text(answer.session_id[:200])
        return answer.session_id

    async def wait_for_tool(self, tool: PlanTool) -> None:
        """Wait until the agent has asked for the tools: agents do not report a server that cannot start."""
        began = time.monotonic()
        listed = asyncio.ensure_future(tool.listed.wait())
        ended = asyncio.ensure_future(self._process.ended.wait())
        try:
            await asyncio.wait({listed, ended}, timeout=self._settings.start_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            listed.cancel()
            ended.cancel()
        self._facts.durations_ms["tools/list"] = round((time.monotonic() - began) * 1000)
        if not tool.listed.is_set():
            if self._process.ended.is_set():
                raise await self._ended("tools/list")
            raise AgentFailure(
                FailureCode.NO_TOOL,
                f"the agent did not list the tools of the server {SERVER} within {self._settings.start_s:g} s, so "
                "it could not submit a plan: use an agent that supports stdio MCP servers",
            )

    async def converse(self, session_id: str, prompts: Sequence[str], tool: PlanTool) -> None:
        """Send prompts, each only while no plan was accepted. Raises AgentFailure when none of them got one."""
        for text in prompts:
            answer = await self._turn(session_id, text)
            self._facts.stop_reasons.append(answer.stop_reason)
            if tool.plan is not None:
                return
            if problem := self._model_problem(True):
                raise problem
            if answer.stop_reason == "refusal":
                raise AgentFailure(
                    FailureCode.REFUSED, "the agent refused the request: change the goal of the intent"
                )
        raise AgentFailure(
            FailureCode.NO_PLAN,
            f"the agent submitted no valid plan in {len(prompts)} turns: state in the goal what a plan needs, or "
            "use another model",
        )

    async def close(self) -> None:
        """Close the connection; the agent's process is ended by its sandbox."""
        await self._agent.close()

    async def _turn(self, session_id: str, text: str) -> schema.PromptResponse:
        name = f"prompt {len(self._facts.stop_reasons) + 1}"
        turn = asyncio.ensure_future(
            self._translated(name, self._agent.prompt(session_id=session_id, prompt=[acp.text_block(text)]))
        )
        began = self._transcript.heard_at = time.monotonic()
        try:
            while not (await asyncio.wait({turn}, timeout=_CHECK_SECONDS))[0]:
                if failure := self._overdue():
                    await self._cancel(session_id, turn)
                    raise failure
            return turn.result()
        finally:
            turn.cancel()
            self._facts.durations_ms[name] = round((time.monotonic() - began) * 1000)

    def _overdue(self) -> AgentFailure | None:
        now = time.monotonic()
        if problem := self._model_problem(False):
            return problem
        if now - self._began > self._settings.wall_s:
            return AgentFailure(
                FailureCode.TOO_LONG,
                f"the agent took longer than {self._settings.wall_s:g} s: raise OC_WALL_S, or ask for less",
            )
        if now - self._transcript.heard_at > self._settings.idle_s:
            return AgentFailure(
                FailureCode.IDLE,
                f"the agent sent nothing for {self._settings.idle_s:g} s: check that its model answers",
            )
        return None

    async def _cancel(self, session_id: str, turn: "asyncio.Future[schema.PromptResponse]") -> None:
        with contextlib.suppress(ConnectionError):
            await self._agent.cancel(session_id=session_id)
        await asyncio.wait({turn}, timeout=self._settings.cancel_s)
        if turn.done() and not turn.cancelled():
            turn.exception()  # whatever it answers: the reason for the cancellation is the failure

    async def _within(self, name: str, request: Awaitable[T]) -> T:
        began = time.monotonic()
        try:
            return await self._translated(name, asyncio.wait_for(request, self._settings.start_s))
        finally:
            self._facts.durations_ms[name] = round((time.monotonic() - began) * 1000)

    async def _translated(self, name: str, request: Awaitable[T]) -> T:
        try:
            return await request
        except TimeoutError:
            raise AgentFailure(
                FailureCode.SILENT, f"the agent did not answer {name} within {self._settings.start_s:g} s"
            ) from None
        except ConnectionError:
            raise await self._ended(name) from None
        except RequestError as error:
            raise self._refused(name, error) from None
        except ValidationError:
            raise AgentFailure(
                FailureCode.PROTOCOL, f"the agent's answer to {name} does not follow the protocol: update the agent"
            ) from None

    async def _ended(self, name: str) -> AgentFailure:
        if self._lines.failure is not None:
            return self._lines.failure
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.ended.wait(), _EXIT_SECONDS)
        if self._process.is_out_of_memory:
            return AgentFailure(
                FailureCode.MEMORY,
                f"the agent used more than {self._settings.memory_mb} MiB of memory: raise OC_MEMORY_MB",
            )
        if self._process.is_out_of_disk:
            return AgentFailure(
                FailureCode.DISK,
                f"the agent wrote more than {self._settings.disk_mb} MiB or 500,000 files: raise OC_DISK_MB, or "
                "state the limit in the goal",
            )
        if self._process.problem:
            return AgentFailure(FailureCode.BOX, f"the agent's sandbox cannot start: {self._process.problem}")
        code = "" if self._process.exit_code is None else f" with exit code {self._process.exit_code}"
        last = self._process.stderr.strip().splitlines()[-1:]
        detail = f": {last[0][:500]}" if last else ""
        return AgentFailure(FailureCode.ENDED, f"the agent ended during {name}{code}{detail}")

    def _refused(self, name: str, error: RequestError) -> AgentFailure:
        if problem := self._model_problem(True):
            return problem
        message = str(error)[:500]
        if error.code == _AUTHENTICATION_REQUIRED:
            return AgentFailure(
                FailureCode.SIGNED_OUT,
                f"the agent requires a sign-in ({message}): set OC_MODEL, OC_PROVIDER_URL and OC_API_KEY, from "
                "which its configuration is made",
            )
        return AgentFailure(FailureCode.ERROR, f"the agent answered {name} with error {error.code}: {message}")


@contextlib.asynccontextmanager
async def opened(session: AgentSession) -> AsyncIterator[AgentSession]:
    """Close the session's connection at the end of the block."""
    try:
        yield session
    finally:
        await session.close()
