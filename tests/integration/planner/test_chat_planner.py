"""A model without an agent: the same questions, the same answers, the same failures."""

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from resources.planner.acp.agent_planner import AgentAnswer, AgentQuestion, QuestionFailed
from resources.planner.acp.agent_settings import AgentSettings, PlanLimits
from resources.planner.acp.scratch import FilesScratch, GitScratch, Scratch
from resources.planner.chat_planner import ChatPlanner
from sisu_pipeline.domain.changes.file_diff import FileState
from sisu_pipeline.steps.agent_prompts import chat_prompt, plan_prompt
from tests.builders import an_intent
from tests.integration.git.repositories import address_of, git, make_repository, mirrors_in
from tests.integration.planner.conftest import model_settings
from tests.support.acp.model_answers import Turn
from tests.support.acp.scripted_agent import GOOD_PLAN
from tests.support.acp.scripted_model import KEY, ScriptedModel

FILES = {"greet.py": FileState(b"def greet():\n    return 'hello'\n"), "old.py": FileState(b"x = 1\n")}
EDITS: list[dict[str, Any]] = [
    {"path": "greet.py", "content": "def greet(name):\n    return name\n"},
    {"path": "old.py", "content": None},
]


def plan(edits: list[dict[str, Any]], **changed: Any) -> Turn:
    """The model's call of the output tool."""
    return ("submit_plan", {**GOOD_PLAN, "edits": edits, **changed})


def ask(
    model: ScriptedModel,
    turns: list[Turn],
    folder: Path,
    scratch: Scratch | None = None,
    limits: PlanLimits | None = None,
    key: str = KEY,
) -> AgentAnswer | QuestionFailed:
    """Ask the model, which plays these turns."""
    model.scripts["m"] = turns
    settings = AgentSettings(argv=("chat",), home=folder)
    planner = ChatPlanner(settings, model_settings(model, key=key), chat_prompt)
    prompt = plan_prompt(an_intent("Greet by name", inputs={"files": {}}))
    question = AgentQuestion("key", [prompt], scratch or FilesScratch(FILES), limits or PlanLimits())

    async def asked() -> AgentAnswer | QuestionFailed:
        try:
            return await planner.ask(question)
        except QuestionFailed as failed:
            return failed

    return asyncio.run(asked())


def test_a_model_plans_and_edits_in_one_answer(model: ScriptedModel, folder: Path) -> None:
    model.requests.clear()
    answer = ask(model, [plan(EDITS)], folder)
    assert isinstance(answer, AgentAnswer), answer
    assert answer.plan.to_json() == GOOD_PLAN
    assert [(patch["op"], patch["targetPath"]) for patch in answer.changes.patches] == [
        ("delete", "old.py"),
        ("modify", "greet.py"),
    ]
    assert (answer.evidence.input_tokens, answer.evidence.output_tokens) == (1000, 50)
    assert answer.evidence.cost_usd == Decimal("0.00125")
    assert KEY not in json.dumps(answer.evidence.transcript)
    prompt = json.dumps(model.requests[0]["messages"])
    assert "--- greet.py" in prompt and "Goal: Greet by name" in prompt and "of the server sisu" not in prompt


def test_an_invalid_plan_is_corrected(model: ScriptedModel, folder: Path) -> None:
    answer = ask(model, [plan(EDITS, design="none"), plan(EDITS)], folder)
    assert isinstance(answer, AgentAnswer), answer
    assert answer.evidence.model_calls == 2


@pytest.mark.parametrize(
    ("turns", "code", "sentence"),
    [
        ([plan(EDITS, design="none")], "no_plan", "no valid plan in 3 answers"),
        ([plan([{"path": "../x", "content": "x"}])], "changes_refused", "'../x', which is not a plain path"),
        ([plan([{"path": "greet.py/x", "content": "x"}])], "changes_refused", "cannot edit 'greet.py/x'"),
        ([plan([{"path": "none.py", "content": None}])], "changes_refused", "No such file"),
    ],
)
def test_what_no_plan_can_be_made_of_fails_with_a_sentence(
    model: ScriptedModel, folder: Path, turns: list[Turn], code: str, sentence: str
) -> None:
    failed = ask(model, turns, folder)
    assert isinstance(failed, QuestionFailed), failed
    assert failed.failure.code == code and sentence in str(failed)


def test_a_link_in_the_repository_is_not_followed(model: ScriptedModel, folder: Path) -> None:
    outside = folder / "outside"
    outside.mkdir()
    make_repository(folder / "project", {"a.py": "x = 1\n"})
    (folder / "project" / "link").symlink_to(outside)
    git(folder / "project", "add", "--all")
    git(folder / "project", "commit", "-qm", "link")
    mirrors, address = mirrors_in(folder), address_of(folder / "project")
    scratch = GitScratch(mirrors.git(address), mirrors.resolve_ref(address, "main"))
    failed = ask(model, [plan([{"path": "link/x", "content": "x"}])], folder, scratch)
    assert isinstance(failed, QuestionFailed) and "behind a link" in str(failed)
    assert [*outside.iterdir()] == []


def test_a_budget_is_kept(model: ScriptedModel, folder: Path) -> None:
    for limits in (PlanLimits(tokens=1000), PlanLimits(cost_usd=Decimal("0.001"))):
        failed = ask(model, [plan(EDITS)], folder, limits=limits)
        assert isinstance(failed, QuestionFailed) and failed.failure.code == "budget_exceeded"


def test_a_rejected_key_is_not_tried_again(model: ScriptedModel, folder: Path) -> None:
    failed = ask(model, [plan(EDITS)], folder, key="wrong")
    assert isinstance(failed, QuestionFailed)
    assert failed.failure.code == "model_error" and failed.failure.failure_kind == "permanent"
    assert "answered 401" in str(failed)


def test_files_that_are_too_large_for_a_prompt_are_refused(model: ScriptedModel, folder: Path) -> None:
    scratch = FilesScratch({f"{number}.txt": FileState(b"x" * 100_000) for number in range(5)})
    failed = ask(model, [plan(EDITS)], folder, scratch)
    assert isinstance(failed, QuestionFailed) and "use an agent instead" in str(failed)
