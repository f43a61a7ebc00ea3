"""The planner of `OC_MODE=replay`: recorded answers if they exist, otherwise the built-in planner.

The name of a fixture is the sha256 of its question, so that it cannot answer another one.
"""

import json
from pathlib import Path

from resources.planner import builtin_planner
from resources.planner.planner_port import PlannerUnavailable, Question
from sisu_pipeline.contracts.step_outputs import PlannerOutput
from sisu_pipeline.domain.canonical import sha256_json
from sisu_pipeline.domain.plain_json import unstorable

SCHEMA_VERSION = 1


def fixture_key(prompt: str, schema_version: int, seed: int | str) -> str:
    """The name of the fixture that answers this prompt."""
    return sha256_json({"intent": prompt, "schemaVersion": schema_version, "seed": seed})


def fixture_path(folder: Path, question: Question) -> Path:
    """The file that records the answer to a question; the agent's role is the seed of its hash."""
    return folder / f"{fixture_key(question.prompt, SCHEMA_VERSION, question.agent)}.json"


class ReplayPlanner:
    """Answers from `fixtures/oc/`, otherwise deterministically from the intent's own inputs."""

    name = "replay"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def answer(self, question: Question) -> PlannerOutput:
        """The recorded answer, or the built-in one. Raises PlannerUnavailable for a broken fixture."""
        return self.recorded(question) or builtin_planner.answer(question)

    def recorded(self, question: Question) -> PlannerOutput | None:
        """The recorded answer, if there is one. Raises PlannerUnavailable for a broken fixture."""
        return _recorded(self.folder, question)


def record(folder: Path, question: Question, output: PlannerOutput) -> Path:
    """Store an answer as the fixture of its question; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = fixture_path(folder, question)
    path.write_text(json.dumps(output.to_json(), indent=2, ensure_ascii=False) + "\n")
    return path


def _recorded(folder: Path, question: Question) -> PlannerOutput | None:
    path = fixture_path(folder, question)
    if not path.exists():
        return None
    try:
        answer = json.loads(path.read_text())
        if (place := unstorable(answer)) is not None:
            raise PlannerUnavailable(f"fixture {path.name} cannot be stored: {place}")
        return PlannerOutput.from_json(answer)
    except (ValueError, RecursionError) as error:
        raise PlannerUnavailable(f"fixture {path.name} is not a planner's answer: {error}") from error
