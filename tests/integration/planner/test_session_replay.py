"""Recorded sessions of real agents, played without an agent or a model: the same plan, the same patch."""

import asyncio
import json
from pathlib import Path

import pytest

from resources.planner.acp import recording
from resources.planner.acp.agent_errors import AgentFailure
from resources.planner.acp.agent_settings import AgentSettings
from resources.planner.acp.playback_planner import PlaybackPlanner
from resources.planner.acp.session_replay import replay
from resources.planner.planner_port import PlannerUnavailable

SESSIONS = sorted((Path(__file__).parents[2] / "fixtures" / "acp_sessions").glob("*.session.json"))


@pytest.mark.parametrize("session", SESSIONS, ids=lambda path: path.name)
def test_a_recorded_session_yields_the_same_plan_and_the_same_changes(session: Path) -> None:
    played = replay(session)
    recorded = recording.read(session)
    assert played.differences == []
    assert played.changes_sha256 == recorded.changes_sha256
    assert played.frames == len(recorded.transcript["frames"])


def test_a_session_that_the_client_cannot_follow_is_reported(folder: Path) -> None:
    document = json.loads(SESSIONS[0].read_text())
    frames = document["transcript"]["frames"]
    sent = next(frame["frame"] for frame in frames if frame["frame"].get("method") == "session/prompt")
    sent["method"] = "session/load"
    changed = folder / "changed.session.json"
    changed.write_text(json.dumps(document))
    with pytest.raises(
        PlannerUnavailable, match="the recorded client sent session/load, the live one session/prompt"
    ):
        replay(changed)


@pytest.mark.parametrize("text", ["", "{}", '{"version": 2}'])
def test_another_file_is_no_recording(folder: Path, text: str) -> None:
    file = folder / "x.json"
    file.write_text(text)
    with pytest.raises(PlannerUnavailable, match="is not a recorded session"):
        recording.read(file)


def test_playback_is_refused_at_the_start_where_no_session_is_recorded(folder: Path) -> None:
    settings = AgentSettings(argv=("playback",), home=folder / "agents")
    with pytest.raises(AgentFailure, match="holds no recorded session: record one with OC_MODE=record"):
        asyncio.run(PlaybackPlanner(settings, folder).check())
    assert asyncio.run(PlaybackPlanner(settings, SESSIONS[0].parent).check()).agent_name == "playback"
