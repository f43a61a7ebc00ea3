"""CompileST: an intent and the planner's answer become a plan."""

import json
from typing import Any

from sisu_pipeline.contracts.field_errors import shown
from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.contracts.step_outputs import Plan, PlannerOutput, StepId
from sisu_pipeline.domain.canonical import canonical_json
from sisu_pipeline.domain.complete_plan import SealedPlan
from sisu_pipeline.domain.plain_json import unstorable
from sisu_pipeline.steps import gate_terms
from sisu_pipeline.steps.step_result import StepResult, ask_gate, json_artifact

INSTRUCTION = "Answer with JSON of the given schema only: a plan, no code and no patches outside it."


class PlannerAnswerInvalid(Exception):
    """The planner's answer has no structured part, cannot be stored, or contradicts the intent."""


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
    content = structured_part(answer, "plan")
    goal = content.get("goal", intent.goal)
    if goal != intent.goal:
        raise PlannerAnswerInvalid(f"the planner's plan has another goal than the intent: {shown(goal)}")
    return Plan.from_json({"goal": intent.goal, **content})


def structured_part(answer: PlannerOutput, kind: str) -> dict[str, Any]:
    """The structured part of a planner's answer, a plan or a build. Raises PlannerAnswerInvalid."""
    if answer.structured is None:
        raise PlannerAnswerInvalid(f"the planner's answer has no structured {kind}")
    if (place := unstorable(answer.structured)) is not None:
        raise PlannerAnswerInvalid(f"the planner's {kind} cannot be stored: {place}")
    return answer.structured


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
