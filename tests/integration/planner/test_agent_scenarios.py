"""Each file of `tests/fixtures/acp` is an agent with at most one fault; client, sandbox and tool are real."""

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest

from resources.planner.acp.agent_planner import AgentAnswer, AgentPlanner, AgentQuestion, QuestionFailed
from resources.planner.acp.agent_settings import PlanLimits
from resources.planner.acp.scratch import FilesScratch
from sisu_pipeline.domain.canonical import canonical_json
from sisu_pipeline.domain.changes.file_diff import FileState
from sisu_pipeline.steps.agent_prompts import REPAIR
from tests.integration.planner.conftest import model_settings, scripted_settings
from tests.support.acp.scripted_model import KEY, ScriptedModel

SCENARIOS = sorted((Path(__file__).parents[2] / "fixtures" / "acp").glob("*.json"))
FILES = {
    "greet.py": FileState(b"def greet():\n    return 'hello'\n"),
    "notes/read me.txt": FileState(b"keep\r\n"),
}


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.stem)
def test_an_agent_is_answered_or_fails_with_a_sentence_and_leaves_nothing(
    scenario: Path, folder: Path, model: ScriptedModel
) -> None:
    case = json.loads(scenario.read_text())
    expected = case["expect"]
    key = case.get("modelKey", KEY)
    settings = scripted_settings(
        folder, case["script"], model=model_settings(model, key=key), **case.get("settings", {})
    )
    limits = case.get("limits", {})
    question = AgentQuestion(
        "key",
        ["change it", REPAIR, REPAIR],
        FilesScratch(FILES),
        PlanLimits(limits.get("tokens"), _decimal(limits)),
    )
    planner = AgentPlanner(settings)
    try:
        result = asyncio.run(_ask(planner, question))
        assert _processes(folder) == []
        assert [each.name for each in (folder / "agents" / "boxes").glob("*/*")] == []
    finally:
        planner.close()
    evidence = result.evidence
    if "failure" in expected:
        assert isinstance(result, QuestionFailed), result
        assert result.failure.code == expected["failure"]
        assert expected["message"] in str(result.failure)
    else:
        assert isinstance(result, AgentAnswer), result
        assert evidence.agent_name == "scripted"
        if "patches" in expected:
            assert [[patch["op"], patch["targetPath"]] for patch in result.changes.patches] == expected["patches"]
        if "risks" in expected:
            assert result.plan.risks == expected["risks"]
    if "stopReasons" in expected:
        assert [*evidence.stop_reasons] == expected["stopReasons"]
    if "text" in expected:
        assert expected["text"] in evidence.text
    if "tokens" in expected:
        assert [evidence.input_tokens, evidence.output_tokens] == expected["tokens"]
        assert evidence.cost_usd == Decimal(expected["cost"])
    assert key not in json.dumps(evidence.transcript)
    canonical_json(evidence.transcript)  # or it could not be stored


async def _ask(planner: AgentPlanner, question: AgentQuestion) -> AgentAnswer | QuestionFailed:
    try:
        return await planner.ask(question)
    except QuestionFailed as failed:
        return failed


def _processes(folder: Path) -> list[Any]:
    """The command lines of processes of the scripted agent's sandboxes."""
    marks = [f"sisu-sandbox-{box.name}" for box in (folder / "agents" / "boxes").iterdir()]
    lines = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    return [line for line in lines if any(mark in line for mark in marks)]


def _decimal(limits: dict[str, Any]) -> Decimal | None:
    return Decimal(limits["cost_usd"]) if "cost_usd" in limits else None
