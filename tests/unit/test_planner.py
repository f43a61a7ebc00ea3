"""Planners: the recorded answer, else the built-in one; never a silent fallback."""

import json
from pathlib import Path
from typing import Any

import pytest

from resources.planner.planner_port import Agent, PlannerUnavailable, Question
from resources.planner.replay_planner import ReplayPlanner, fixture_path, record
from sisu_pipeline.contracts.base import ContractInvalid
from sisu_pipeline.steps.compile import plan_prompt, read_plan
from sisu_pipeline.steps.decide import read_build
from tests.builders import an_intent


def a_question(agent: Agent = "plan", **inputs: Any) -> Question:
    intent = an_intent("ship", inputs=inputs)
    return Question(agent, plan_prompt(intent), intent)


PATCH = {"targetPath": "a.txt", "postimageContent": "x", "diffText": "+x"}


def test_the_built_in_plan_is_made_of_the_intents_inputs(tmp_path: Path) -> None:
    answer = ReplayPlanner(tmp_path).answer(a_question(tests=["a", "b"], patches=[PATCH]))
    assert answer.structured == {
        "design": ["Design for: ship"],
        "files": ["a.txt"],
        "risks": [],
        "tests": ["a", "b"],
        "testCommand": "pnpm test",
        "patchPlan": [PATCH],
    }


def test_the_built_in_plan_of_an_empty_intent_has_no_patches_and_no_tests(tmp_path: Path) -> None:
    answer = ReplayPlanner(tmp_path).answer(a_question())
    assert answer.structured == {
        "design": ["Design for: ship"],
        "files": [],
        "risks": [],
        "tests": [],
        "testCommand": "pnpm test",
    }


def test_the_built_in_build_runs_the_intents_command_else_pnpm_test(tmp_path: Path) -> None:
    planner = ReplayPlanner(tmp_path)
    assert planner.answer(a_question("build")).structured == {
        "patch": [],
        "tests": [],
        "test_command": "pnpm test",
    }
    answer = planner.answer(a_question("build", tests=["t"], testCommand="pytest"))
    assert answer.structured == {"patch": [], "tests": ["t"], "test_command": "pytest"}


@pytest.mark.parametrize(
    "inputs",
    [
        {"tests": "all"},
        {"tests": [1]},
        {"tests": None},
        {"tests": ["t"] * 10_001},
        {"patches": "all"},
        {"patches": [1]},
        {"patches": [{}]},
        {"patches": [PATCH] * 201},
        {"testCommand": ""},
        {"testCommand": 1},
    ],
)
def test_hostile_inputs_make_a_plan_that_the_contract_refuses(tmp_path: Path, inputs: dict[str, Any]) -> None:
    question = a_question(**inputs)
    with pytest.raises(ContractInvalid):
        read_plan(question.intent, ReplayPlanner(tmp_path).answer(question))


@pytest.mark.parametrize("command", [None, 1, ["pytest"]])
def test_a_test_command_that_is_no_text_is_refused(tmp_path: Path, command: Any) -> None:
    with pytest.raises(ContractInvalid):
        read_build(ReplayPlanner(tmp_path).answer(a_question("build", testCommand=command)))


def test_a_recorded_answer_is_replayed_for_its_question_only(tmp_path: Path) -> None:
    recorded = {"prompt": "p", "toolcalls": [], "responses": ["r"], "diffs": [], "structured": {"x": 1}}
    fixture_path(tmp_path, a_question()).write_text(json.dumps(recorded))
    planner = ReplayPlanner(tmp_path)
    assert planner.answer(a_question()).to_json() == recorded
    assert (planner.recorded(a_question()), planner.recorded(a_question("build"))) == (
        planner.answer(a_question()),
        None,
    )
    assert planner.answer(a_question(ticket="T-1")).structured != {"x": 1}
    assert planner.answer(a_question("build")).structured != {"x": 1}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"prompt": "p"}', '{"prompt": 1}'])
def test_a_broken_fixture_is_an_error_not_the_built_in_answer(tmp_path: Path, text: str) -> None:
    path = fixture_path(tmp_path, a_question())
    path.write_text(text)
    with pytest.raises(PlannerUnavailable, match=path.name):
        ReplayPlanner(tmp_path).answer(a_question())


def test_what_is_recorded_is_what_replay_answers(tmp_path: Path) -> None:
    folder = tmp_path / "oc"
    answer = ReplayPlanner(folder).answer(a_question(tests=["a"]))
    recorded = record(folder, a_question(), answer)
    assert [*folder.iterdir()] == [recorded]
    assert recorded.read_text().endswith("}\n")
    assert ReplayPlanner(folder).answer(a_question()) == answer
