"""CompileST: the planner's answer becomes a plan, or nothing does."""

from typing import Any

import pytest

from sisu_pipeline.contracts.base import ContractInvalid
from sisu_pipeline.contracts.step_outputs import PlannerOutput, StepId
from sisu_pipeline.domain.canonical import sha256_json
from sisu_pipeline.steps.compile import PlannerAnswerInvalid, compile_intent, plan_prompt
from tests.builders import an_intent

PLAN = {"design": ["d"], "files": [], "risks": [], "tests": ["t"]}


def an_answer(structured: dict[str, Any] | None) -> PlannerOutput:
    return PlannerOutput(prompt="p", toolcalls=[], responses=[], diffs=[], structured=structured)


def test_the_plan_carries_the_intents_goal_and_one_plan_card() -> None:
    result = compile_intent("run_1", an_intent("ship"), an_answer(PLAN))
    assert result.step is StepId.COMPILE
    assert result.output == {"goal": "ship", **PLAN}
    (card,) = result.artifacts
    assert (card.idx, card.kind, card.task_key) == (0, "plan_card", "")
    assert card.uri == "artifact://run/run_1/step/CompileST/task//plan.json"
    assert card.inline == result.output
    assert card.sha256 == sha256_json(result.output)
    assert result.gate is None


def test_a_goal_in_the_answer_is_the_plans_goal() -> None:
    assert compile_intent("run_1", an_intent("a"), an_answer({"goal": "b", **PLAN})).output["goal"] == "b"


def test_an_answer_without_a_plan_is_refused() -> None:
    with pytest.raises(PlannerAnswerInvalid):
        compile_intent("run_1", an_intent(), an_answer(None))


@pytest.mark.parametrize("change", [{"tests": "all"}, {"tests": [1]}, {"surprise": 1}, {"patchPlan": [{}]}])
def test_a_plan_out_of_contract_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ContractInvalid):
        compile_intent("run_1", an_intent(), an_answer(PLAN | change))


def test_the_prompt_is_one_text_whatever_the_order_of_keys() -> None:
    forwards = an_intent(inputs={"a": 1, "b": 2}, constraints={"c": {"d": 1, "e": 2}})
    backwards = an_intent(inputs={"b": 2, "a": 1.0}, constraints={"c": {"e": 2, "d": 1}})
    assert plan_prompt(forwards) == plan_prompt(backwards)
    assert plan_prompt(forwards).startswith('Goal: Make the tests pass\nInputs: {"a":1,"b":2}\n')
