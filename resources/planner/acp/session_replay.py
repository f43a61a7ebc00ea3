"""Playback of a recorded session through the real client, sandbox and tool, without an agent or a model."""

import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from resources.planner.acp import playback_planner
from resources.planner.acp import recording as recordings
from resources.planner.acp.agent_planner import AgentQuestion, QuestionFailed
from resources.planner.acp.scratch import FilesScratch
from resources.planner.planner_port import PlannerUnavailable


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
        home = Path(name)
        home.chmod(0o711)
        question = AgentQuestion("replay", recording.prompts, FilesScratch(recording.base))
        try:
            answer = asyncio.run(playback_planner.play(recording, question, home / "agents"))
        except QuestionFailed as failed:
            raise PlannerUnavailable(f"the recording cannot be played: {failed}") from failed
    return Replayed(
        answer.evidence.agent_name or "unknown",
        len(answer.evidence.transcript["frames"]),
        round(time.monotonic() - began, 2),
        answer.changes.sha256,
        playback_planner.differences(recording, answer),
    )
