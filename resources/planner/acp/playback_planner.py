"""The planner that plays recorded sessions: real client, sandbox and tool, without an agent and without a model."""

import asyncio
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resources.planner.acp import recording as recordings
from resources.planner.acp.agent_errors import AgentFailure, FailureCode
from resources.planner.acp.agent_planner import (
    NO_EVIDENCE,
    AgentAnswer,
    AgentPlanner,
    AgentQuestion,
    QuestionFailed,
)
from resources.planner.acp.agent_session import SessionFacts
from resources.planner.acp.agent_settings import AgentSettings
from resources.planner.acp.recording import Recording
from resources.planner.planner_port import PlannerUnavailable
from sisu_pipeline.contracts.step_outputs import Plan
from sisu_pipeline.domain.changes.plan_changes import files_after

_AGENT = Path(__file__).with_name("playback_agent.py")


@dataclass(frozen=True)
class PlaybackPlanner:
    """Answers a question with the session that was recorded for its prompt and its files."""

    settings: AgentSettings
    folder: Path

    async def ask(self, question: AgentQuestion) -> AgentAnswer:
        """The recorded answer. Raises QuestionFailed."""
        try:
            recorded = await asyncio.to_thread(self._find, question)
        except AgentFailure as failure:
            raise QuestionFailed(failure, NO_EVIDENCE) from failure
        answer = await play(recorded, question, self.settings.home)
        if found := differences(recorded, answer):
            text = f"the recorded session was played, but {' and '.join(found)}: record it again"
            raise QuestionFailed(AgentFailure(FailureCode.PROTOCOL, text), answer.evidence)
        return answer

    async def check(self) -> SessionFacts:
        """Proof that there are sessions, and sandboxes to play them in. Raises AgentFailure."""
        if not any(self.folder.glob(f"*{recordings.SUFFIX}")):
            raise AgentFailure(
                FailureCode.NOT_RECORDED,
                f"{self.folder} holds no recorded session: record one with OC_MODE=record and a coding agent",
            )
        await asyncio.to_thread(AgentPlanner(_settings((), self.settings.home)).close)
        return SessionFacts(agent_name="playback")

    def close(self) -> None:
        """Nothing to do: each session ends its own sandbox."""

    def _find(self, question: AgentQuestion) -> Recording:
        path = recordings.session_path(self.folder, question.prompts[0], question.scratch.content_key())
        if not path.exists():
            raise AgentFailure(
                FailureCode.NOT_RECORDED,
                "no session is recorded for this prompt and these files: record one with OC_MODE=record, or set "
                "OC_AGENT to a coding agent",
            )
        try:
            return recordings.read(path)
        except PlannerUnavailable as broken:
            raise AgentFailure(FailureCode.NOT_RECORDED, str(broken)) from broken


async def play(recorded: Recording, question: AgentQuestion, home: Path) -> AgentAnswer:
    """Play a session as the answer to a question, in a sandbox below `home`. Raises QuestionFailed."""
    with tempfile.TemporaryDirectory(prefix="sisu-playback-") as name:
        files = await asyncio.to_thread(_write, Path(name), recorded)
        planner = await asyncio.to_thread(AgentPlanner, _settings(files, home))
        try:
            return await planner.ask(question)
        finally:
            await asyncio.to_thread(planner.close)


def differences(recorded: Recording, answer: AgentAnswer) -> list[str]:
    """How an answer differs from the recorded one."""
    found = []
    if answer.plan.to_json() != recorded.plan:
        found.append("the plan differs")
    if answer.changes.patches != recorded.changes:
        found.append(f"the changes differ: {answer.changes.sha256} instead of {recorded.changes_sha256}")
    return found


def _settings(files: tuple[Path, ...], home: Path) -> AgentSettings:
    """Settings of the playback agent, which reads these files."""
    argv = ("python3", str(_AGENT), *map(str, files))
    return AgentSettings(argv=argv, home=home, paths=(_AGENT, *files), idle_s=60)


def _write(folder: Path, recorded: Recording) -> tuple[Path, ...]:
    """Write the two files that the playback agent reads, so that the user of its sandbox can read them."""
    folder.chmod(0o711)
    contents = {"recording.json": {"transcript": recorded.transcript}, "changes.json": _effect(recorded)}
    paths = []
    for name, content in contents.items():
        file = folder / name
        file.write_text(json.dumps(content))
        file.chmod(0o644)
        paths.append(file)
    return tuple(paths)


def _effect(recorded: Recording) -> dict[str, Any]:
    """The files that the recorded changes write, in base64, and null for those that they remove."""
    before = recorded.base
    plan = Plan.from_json({"goal": "", **recorded.plan, "patchPlan": recorded.changes})
    after = files_after(plan, before)
    written = {path: recordings.as_json(state) for path, state in after.items() if before.get(path) != state}
    return {**written, **dict.fromkeys(before.keys() - after.keys())}
