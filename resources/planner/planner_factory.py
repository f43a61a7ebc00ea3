"""Choice of the planner. An unavailable planner is an error; no other one replaces it."""

from pathlib import Path
from typing import Literal

from resources.planner.planner_port import Planner, PlannerUnavailable
from resources.planner.replay_planner import RecordingPlanner, ReplayPlanner


def open_planner(mode: Literal["replay", "record", "live"], fixtures: Path) -> Planner:
    """The planner of `OC_MODE`. Raises PlannerUnavailable for one this build does not have."""
    if mode == "replay":
        return ReplayPlanner(fixtures)
    if mode == "record":
        return RecordingPlanner(fixtures)
    raise PlannerUnavailable(
        f"OC_MODE={mode} needs an OpenCode daemon, which this build cannot talk to: use OC_MODE=replay."
    )
