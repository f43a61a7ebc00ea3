"""DecideST: the build of the approved plan, a function of that plan alone."""

from sisu_pipeline.contracts.step_outputs import Build, PatchedPlan, Plan, PlannerOutput, StepId
from sisu_pipeline.domain.canonical import canonical_json
from sisu_pipeline.steps.compile import PlannerAnswerInvalid
from sisu_pipeline.steps.step_result import StepResult, nothing_artifact

INSTRUCTION = "Answer with JSON of the given schema only: patch, tests and test_command."


class BuildDiffers(Exception):
    """A recorded build answer names another command, other tests or another patch than the approved plan."""


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


def read_build(answer: PlannerOutput) -> Build:
    """The build in a planner's answer. Raises PlannerAnswerInvalid or ContractInvalid."""
    if answer.structured is None:
        raise PlannerAnswerInvalid("the planner's answer has no structured build")
    return Build.from_json(answer.structured)


def check_agrees(recorded: Build, plan: Plan) -> None:
    """Raise BuildDiffers when a recorded build is not the one that the plan describes.

    The plan is executed in either case; the recording then belongs to another plan, so the run must not go on.
    """
    if recorded.test_command != plan.test_command:
        raise BuildDiffers(
            f"the recorded build has the command {recorded.test_command!r}, the approved plan {plan.test_command!r}"
        )
    if recorded.tests != plan.tests:
        raise BuildDiffers(
            f"the recorded build has the tests {_shown(recorded.tests)}, the approved plan {_shown(plan.tests)}"
        )
    approved = {(patch.target_path, patch.diff_text) for patch in plan.patch_plan or []}
    for patch in recorded.patch:
        if (patch.path, patch.diff) not in approved:
            raise BuildDiffers(f"the recorded build changes {patch.path} in a way the approved plan does not")


def decide(run_id: str, plan: Plan, patched: PatchedPlan) -> StepResult:
    """The build of an approved plan: its command and tests. No planner is asked."""
    assert plan.test_command is not None, "an approved plan names its command"
    build = Build(patch=[], tests=plan.tests, test_command=plan.test_command)
    output = PlannerOutput(
        prompt=build_prompt(patched), toolcalls=[], responses=[], diffs=[], structured=build.to_json()
    )
    return StepResult(StepId.DECIDE, output.to_json(), (nothing_artifact(run_id, StepId.DECIDE),))


def _shown(tests: list[str], most: int = 5) -> str:
    more = f" and {len(tests) - most} more" if len(tests) > most else ""
    return f"{tests[:most]}{more}"
