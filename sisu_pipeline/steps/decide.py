"""DecideST: an approved plan and the planner's second answer become what to execute."""

from sisu_pipeline.contracts.step_outputs import Build, PatchedPlan, PlannerOutput, StepId
from sisu_pipeline.domain.canonical import canonical_json
from sisu_pipeline.steps.compile import PlannerAnswerInvalid
from sisu_pipeline.steps.step_result import StepResult, json_artifact, nothing_artifact

INSTRUCTION = "Answer with JSON of the given schema only: patch, tests and test_command."


def build_prompt(plan: PatchedPlan) -> str:
    """The prompt for the build; a function of the approved plan."""
    approved = {
        "design": plan.design,
        "files": plan.files,
        "risks": plan.risks,
        "tests": plan.tests,
    }
    answer = [] if plan.answer is None else [f"Answer: {canonical_json(plan.answer)}"]
    return "\n".join(
        [f"Approved plan: {canonical_json(approved)}", *answer, "", f"Goal: {plan.goal}", "", INSTRUCTION]
    )


def following(answer: PlannerOutput, plan: PatchedPlan) -> PlannerOutput:
    """The planner's answer with the tests of the edited plan, which are the ones that run."""
    if answer.structured is None:
        return answer
    return answer.model_copy(update={"structured": {**answer.structured, "tests": plan.tests}})


def decide(run_id: str, answer: PlannerOutput) -> StepResult:
    """The decision, validated. Raises PlannerAnswerInvalid or ContractInvalid."""
    if answer.structured is None:
        raise PlannerAnswerInvalid("the planner's answer has no structured build")
    build = Build.from_json(answer.structured)
    artifacts = tuple(
        json_artifact(run_id, StepId.DECIDE, index, "patch", f"{patch.path}.patch", patch.to_json())
        for index, patch in enumerate(build.patch)
    ) or (nothing_artifact(run_id, StepId.DECIDE),)
    return StepResult(StepId.DECIDE, answer.to_json(), artifacts)
