"""Lab agent-replay: play a recorded session of a coding agent; plan and changes must be those of the recording."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from resources.planner.acp.session_replay import replay


def run(path: Path) -> dict[str, Any]:
    """Play a recording and report what differs. Raises PlannerUnavailable."""
    played = replay(path)
    return {**asdict(played), "passed": played.is_equal}


def summary(document: dict[str, Any]) -> str:
    """The report as text."""
    verdict = "passed" if document["passed"] else f"FAILED: {'; '.join(document['differences'])}"
    return (
        f"agent-replay: {verdict}, {document['agent']}, {document['frames']} frames in {document['seconds']} s, "
        f"changes {document['changes_sha256']}"
    )
