"""CompileST: an intent and the planner's answer become a plan."""

import json
from typing import Any

from sisu_pipeline.contracts.field_errors import shown
from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.contracts.step_outputs import Plan, PlannerOutput, StepId
from sisu_pipeline.domain.canonical import canonical_json
from sisu_pipeline.domain.complete_plan import SealedPlan
from sisu_pipeline.steps import gate_terms
from sisu_pipeline.steps.step_result import StepResult, ask_gate, json_artifact

INSTRUCTION = "Answer with JSON of the given schema only: a plan, no code and no patches outside it."


class PlannerAnswerInvalid(Exception):
    """The planner's answer has no structured part, or contradicts the intent or another answer."""


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


def read_plan(intent: Intent, answer: PlannerOutput) -> Plan:
    """The plan in a planner's answer. Its command is None when the planner did not name one.

    Raises PlannerAnswerInvalid, or ContractInvalid for a plan that breaks its contract.
    """
    if answer.structured is None:
        raise PlannerAnswerInvalid("the planner's answer has no structured plan")
    goal = answer.structured.get("goal", intent.goal)
    if goal != intent.goal:
        raise PlannerAnswerInvalid(f"the planner's plan has another goal than the intent: {shown(goal)}")
    return Plan.from_json({**answer.structured, "goal": intent.goal})


def compile_intent(run_id: str, intent: Intent, plan: Plan, sealed: SealedPlan) -> StepResult:
    """The plan, and the ask gate if the plan or the intent's constraints contain a question.

    The artifact is the plan with its hash and all that the hash covers.
    """
    output: dict[str, Any] = plan.to_json()
    question = plan.ask or gate_terms.ask(intent.constraints)
    gate = None if question is None else ask_gate(run_id, sealed.sha256, question)
    content = {**output, "planSha256": sealed.sha256, **json.loads(sealed.text)}
    artifact = json_artifact(run_id, StepId.COMPILE, 0, "plan_card", "plan.json", content)
    return StepResult(StepId.COMPILE, output, (artifact,), gate=gate, sealed=sealed)
