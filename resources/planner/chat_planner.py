"""The planner of `OC_AGENT=chat`: one OpenAI-compatible model without an agent, for small inputs.

The model receives the files in its prompt and returns the plan with the new content of each changed file. It
executes nothing, so it needs no sandbox.
"""

import asyncio
import json
import os
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic_ai import Agent, ModelHTTPError, ToolOutput, UnexpectedModelBehavior, UsageLimitExceeded
from pydantic_ai.exceptions import ModelAPIError
from pydantic_ai.messages import ModelMessagesTypeAdapter
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.run import AgentRunResult
from pydantic_ai.usage import UsageLimits

from resources.planner.acp.agent_errors import AgentFailure, FailureCode
from resources.planner.acp.agent_planner import NO_EVIDENCE, AgentAnswer, AgentQuestion, Evidence, QuestionFailed
from resources.planner.acp.agent_session import SessionFacts
from resources.planner.acp.agent_settings import AgentSettings, ModelSettings
from resources.planner.acp.box.model_usage import Usage, exceeded
from resources.planner.acp.plan_tool import TOOL
from resources.planner.acp.scratch import Changes
from resources.planner.acp.transcript import REDACTED
from resources.sandbox.local.isolation.file_tree import TreeTooLarge, open_beneath, open_folder, walk
from sisu_pipeline.contracts.agent_plan import AgentPlan, ChatPlan, FileEdit
from sisu_pipeline.domain.changes.workspace_files import PathNotAllowed, relative_parts
from sisu_pipeline.domain.failure_kind import FailureKind, kind_of_status
from sisu_pipeline.domain.plain_json import plain

MOST_PROMPT_BYTES = 400_000


class ChatPlanner:
    """Asks a model. Belongs to one event loop at a time."""

    def __init__(self, settings: AgentSettings, model: ModelSettings, reword: Callable[[str], str]) -> None:
        """`reword` turns the prompt of an agent into that of a model without one."""
        self._settings = settings
        self._model = model
        self._reword = reword
        self._limit = asyncio.Semaphore(settings.concurrency)

    def close(self) -> None:
        """Nothing is held between questions."""

    async def check(self) -> SessionFacts:
        """The name of the model. A call would cost money, so none is made."""
        return SessionFacts(agent_name="chat", agent_version=self._model.name)

    async def ask(self, question: AgentQuestion) -> AgentAnswer:
        """The model's answer. Raises QuestionFailed."""
        async with self._limit:
            began = time.monotonic()
            with tempfile.TemporaryDirectory(prefix="sisu-chat-") as name:
                prompt = self._reword(question.prompts[0])
                asked = _Asked(self._settings, self._model, question, Path(name))
                try:
                    plan, changes = await asked.run(prompt)
                except AgentFailure as failure:
                    raise QuestionFailed(failure, asked.evidence(began)) from failure
                return AgentAnswer(plan, changes, asked.evidence(began))


class _Asked:
    def __init__(
        self, settings: AgentSettings, model: ModelSettings, question: AgentQuestion, folder: Path
    ) -> None:
        self._settings = settings
        self._model = model
        self._question = question
        self._folder = folder
        self._usage = Usage()
        self._messages: list[Any] = []

    async def run(self, prompt: str) -> tuple[AgentPlan, Changes]:
        """Ask, write the edits into a scratch folder and read its difference. Raises AgentFailure."""
        await asyncio.to_thread(self._question.scratch.fill, self._folder)
        answer = await self._answer("\n\n".join([prompt, *_shown(self._folder)]))
        reason = exceeded(self._usage, self._question.limits, self._model)
        if reason is not None:
            raise AgentFailure(FailureCode.BUDGET, reason)
        for edit in answer.edits:
            _write(self._folder, edit)
        changes = await asyncio.to_thread(self._question.scratch.changes, self._folder)
        document = answer.to_json()
        del document["edits"]
        return AgentPlan.from_json(document), changes

    async def _answer(self, prompt: str) -> ChatPlan:
        provider = OpenAIProvider(base_url=self._model.url, api_key=self._model.key)
        agent = Agent(
            OpenAIChatModel(self._model.name, provider=provider),
            output_type=ToolOutput(ChatPlan, name=TOOL),
            retries={"output": self._settings.repairs},
        )
        limits = UsageLimits(
            request_limit=1 + self._settings.repairs, total_tokens_limit=self._question.limits.tokens
        )
        try:
            async with provider.client, asyncio.timeout(self._settings.wall_s):
                result: AgentRunResult[ChatPlan] = await agent.run(prompt, usage_limits=limits)
        except TimeoutError:
            raise AgentFailure(
                FailureCode.TOO_LONG, f"the model took longer than {self._settings.wall_s:g} s: raise OC_WALL_S"
            ) from None
        except UsageLimitExceeded as error:
            raise AgentFailure(FailureCode.BUDGET, f"budget exceeded: {error}") from None
        except ModelHTTPError as error:
            raise _refused(error) from None
        except ModelAPIError:
            raise AgentFailure(FailureCode.ERROR, "the model's provider cannot be reached") from None
        except UnexpectedModelBehavior:
            raise AgentFailure(
                FailureCode.NO_PLAN, f"the model returned no valid plan in {1 + self._settings.repairs} answers"
            ) from None
        self._note(result)
        return result.output

    def _note(self, result: AgentRunResult[ChatPlan]) -> None:
        used = result.usage
        self._usage = Usage(used.requests, used.input_tokens, used.output_tokens)
        text = ModelMessagesTypeAdapter.dump_json(result.all_messages()).decode()
        self._messages = plain(json.loads(text.replace(json.dumps(self._model.key)[1:-1], REDACTED)))

    def evidence(self, began: float) -> Evidence:
        """The evidence so far."""
        if not self._usage.calls:
            return NO_EVIDENCE
        return Evidence(
            agent_name="chat",
            agent_version=None,
            durations_ms={"all": round((time.monotonic() - began) * 1000)},
            model_calls=self._usage.calls,
            input_tokens=self._usage.input_tokens,
            output_tokens=self._usage.output_tokens,
            cost_usd=self._usage.cost_usd(self._model),
            transcript={"version": 1, "messages": self._messages},
        )


def _refused(error: ModelHTTPError) -> AgentFailure:
    is_passing = kind_of_status(error.status_code) is FailureKind.PASSING
    code = FailureCode.ERROR if is_passing else FailureCode.MODEL
    return AgentFailure(
        code,
        f"the model's provider answered {error.status_code}: check OC_PROVIDER_URL, OC_MODEL and OC_API_KEY",
    )


def _shown(folder: Path) -> list[str]:
    """Every text file with its path. Raises AgentFailure when they are too large for a prompt."""
    root = open_folder(folder)
    shown, size = [], 0
    try:
        for entry in sorted(walk(root), key=lambda entry: entry.path):
            if entry.path.startswith(".git/") or not stat.S_ISREG(entry.stat.st_mode):
                continue
            size += entry.stat.st_size
            if size > MOST_PROMPT_BYTES:
                raise AgentFailure(
                    FailureCode.CHANGES,
                    f"the files have more than {MOST_PROMPT_BYTES} bytes, too many for a prompt: use an agent "
                    "instead of OC_AGENT=chat",
                )
            with os.fdopen(open_beneath(root, tuple(entry.path.split("/")), os.O_RDONLY), "rb") as file:
                content = file.read()
            text = "(binary)" if b"\0" in content else content.decode(errors="replace")
            shown.append(f"--- {entry.path}\n{text}")
    except TreeTooLarge:
        raise AgentFailure(FailureCode.CHANGES, "there are too many files for a prompt: use an agent") from None
    finally:
        os.close(root)
    return shown


def _write(folder: Path, edit: FileEdit) -> None:
    """Write or remove a file. A link in the repository is never followed. Raises AgentFailure."""
    try:
        parts = relative_parts(edit.path)
    except PathNotAllowed:
        raise AgentFailure(
            FailureCode.CHANGES, f"the model edits {edit.path!r}, which is not a plain path"
        ) from None
    target = folder
    for part in parts:
        target = target / part
        if target.is_symlink():
            raise AgentFailure(FailureCode.CHANGES, f"the model edits {edit.path!r}, which is behind a link")
    try:
        if edit.content is None:
            target.unlink()
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(edit.content.encode())
    except OSError as error:
        raise AgentFailure(FailureCode.CHANGES, f"the model cannot edit {edit.path!r}: {error.strerror}") from None
