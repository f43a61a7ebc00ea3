"""CompileST: the planner's answer becomes a plan, or nothing does."""

from typing import Any

import pytest

from sisu_pipeline.contracts.base import ContractInvalid
from sisu_pipeline.contracts.step_outputs import PlannerOutput, StepId
from sisu_pipeline.domain.canonical import sha256_json
from sisu_pipeline.domain.complete_plan import seal
from sisu_pipeline.steps.compile import PlannerAnswerInvalid, compile_intent, plan_prompt, read_plan
from tests.builders import an_intent
from tests.unit.test_complete_plan import TERMS

PLAN = {"design": ["d"], "files": [], "risks": [], "tests": ["t"], "testCommand": "pytest"}


def an_answer(structured: dict[str, Any] | None) -> PlannerOutput:
    return PlannerOutput(prompt="p", toolcalls=[], responses=[], diffs=[], structured=structured)


def test_the_plan_carries_the_intents_goal_and_one_complete_plan_card() -> None:
    intent = an_intent("ship")
    plan = read_plan(intent, an_answer(PLAN))
    sealed = seal(plan, {}, TERMS)
    result = compile_intent("run_1", intent, plan, sealed)
    assert result.step is StepId.COMPILE
    assert result.output == {"goal": "ship", **PLAN}
    (card,) = result.artifacts
    assert (card.idx, card.kind, card.task_key) == (0, "plan_card", "")
    assert card.uri == "artifact://run/run_1/step/CompileST/task//plan.json"
    assert card.inline == {**result.output, "planSha256": sealed.sha256, **sealed.read().to_json()}
    assert card.sha256 == sha256_json(card.inline)
    assert result.sealed == sealed
    assert result.gate is None


def test_a_plan_with_another_goal_than_its_intent_is_refused() -> None:
    assert read_plan(an_intent("a"), an_answer({"goal": "a", **PLAN})).goal == "a"
    for goal in ("b", "", None, ["a"]):
        with pytest.raises(PlannerAnswerInvalid, match="another goal than the intent"):
            read_plan(an_intent("a"), an_answer({"goal": goal, **PLAN}))


def test_an_answer_without_a_plan_is_refused() -> None:
    with pytest.raises(PlannerAnswerInvalid):
        read_plan(an_intent(), an_answer(None))


@pytest.mark.parametrize(
    "change", [{"tests": "all"}, {"tests": [1]}, {"surprise": 1}, {"patchPlan": [{}]}, {"testCommand": ""}]
)
def test_a_plan_out_of_contract_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ContractInvalid):
        read_plan(an_intent(), an_answer(PLAN | change))


def test_the_prompt_is_one_text_whatever_the_order_of_keys() -> None:
    forwards = an_intent(inputs={"a": 1, "b": 2}, constraints={"c": {"d": 1, "e": 2}})
    backwards = an_intent(inputs={"b": 2, "a": 1.0}, constraints={"c": {"e": 2, "d": 1}})
    assert plan_prompt(forwards) == plan_prompt(backwards)
    assert plan_prompt(forwards).startswith('Goal: Make the tests pass\nInputs: {"a":1,"b":2}\n')
