"""Playback of a recorded session through the real client, sandbox and tool, without an agent or a model."""

import asyncio
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resources.planner.acp import recording as recordings
from resources.planner.acp.agent_planner import AgentPlanner, AgentQuestion, QuestionFailed
from resources.planner.acp.agent_settings import AgentSettings
from resources.planner.acp.recording import Recording
from resources.planner.acp.scratch import FilesScratch
from resources.planner.planner_port import PlannerUnavailable
from sisu_pipeline.contracts.step_outputs import Plan
from sisu_pipeline.domain.changes.plan_changes import files_after

_AGENT = Path(__file__).with_name("playback_agent.py")


@dataclass(frozen=True)
class Replayed:
    """The outcome of a playback: what differs from the recording, which must be nothing."""

    agent: str
    frames: int
    seconds: float
    changes_sha256: str
    differences: list[str]

    @property
    def is_equal(self) -> bool:
        """Whether plan and changes are those of the recording."""
        return not self.differences


def replay(path: Path) -> Replayed:
    """Play the recording in a file. Raises PlannerUnavailable when it cannot be played."""
    recording = recordings.read(path)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sisu-replay-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        settings = _settings(folder, recording)
        planner = AgentPlanner(settings)
        try:
            question = AgentQuestion("replay", recording.prompts, FilesScratch(recording.base))
            answer = asyncio.run(planner.ask(question))
        except QuestionFailed as failed:
            raise PlannerUnavailable(f"the recording cannot be played: {failed}") from failed
        finally:
            planner.close()
    differences = []
    if answer.plan.to_json() != recording.plan:
        differences.append("the plan differs")
    if answer.changes.patches != recording.changes:
        differences.append(f"the changes differ: {answer.changes.sha256} instead of {recording.changes_sha256}")
    return Replayed(
        answer.evidence.agent_name or "unknown",
        len(answer.evidence.transcript["frames"]),
        round(time.monotonic() - began, 2),
        answer.changes.sha256,
        differences,
    )


def _settings(folder: Path, recording: Recording) -> AgentSettings:
    """Settings of the playback agent, which reads two files."""
    files = {"recording.json": {"transcript": recording.transcript}, "changes.json": _effect(recording)}
    paths = []
    for name, content in files.items():
        file = folder / name
        file.write_text(json.dumps(content))
        file.chmod(0o644)
        paths.append(file)
    argv = ("python3", str(_AGENT), *map(str, paths))
    return AgentSettings(argv=argv, home=folder / "agents", paths=(_AGENT, *paths), idle_s=60)


def _effect(recording: Recording) -> dict[str, Any]:
    """The files that the recorded changes write, in base64, and null for those that they remove."""
    before = recording.base
    plan = Plan.from_json({"goal": "", **recording.plan, "patchPlan": recording.changes})
    after = files_after(plan, before)
    written = {path: recordings.as_json(state) for path, state in after.items() if before.get(path) != state}
    return {**written, **dict.fromkeys(before.keys() - after.keys())}
