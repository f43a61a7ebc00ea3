"""CompileST: an intent and the planner's answer become a plan."""

from typing import Any

from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.contracts.step_outputs import Plan, PlannerOutput, StepId
from sisu_pipeline.domain.canonical import canonical_json
from sisu_pipeline.steps import gate_terms
from sisu_pipeline.steps.step_result import StepResult, ask_gate, json_artifact

INSTRUCTION = "Answer with JSON of the given schema only: a plan, no code and no patches outside it."


class PlannerAnswerInvalid(Exception):
    """The planner's answer has no structured part."""


def plan_prompt(intent: Intent) -> str:
    """The prompt for the plan; a function of the intent."""
    return "\n".join(
        [
            f"Goal: {intent.goal}",
            f"Inputs: {canonical_json(intent.inputs)}",
            f"Constraints: {canonical_json(intent.constraints)}",
            "",
            INSTRUCTION,
        ]
    )


def compile_intent(run_id: str, intent: Intent, answer: PlannerOutput) -> StepResult:
    """The validated plan, and the ask gate if the plan or the intent's constraints contain a question.

    Raises PlannerAnswerInvalid, or ContractInvalid for a plan that breaks its contract.
    """
    if answer.structured is None:
        raise PlannerAnswerInvalid("the planner's answer has no structured plan")
    read = Plan.from_json({"goal": intent.goal, **answer.structured})
    plan: dict[str, Any] = read.to_json()
    question = read.ask or gate_terms.ask(intent.constraints)
    gate = None if question is None else ask_gate(run_id, plan, question)
    artifact = json_artifact(run_id, StepId.COMPILE, 0, "plan_card", "plan.json", plan)
    return StepResult(StepId.COMPILE, plan, (artifact,), gate=gate)
