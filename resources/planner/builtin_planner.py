"""The deterministic built-in planner, whose plan consists of the intent's own inputs."""

from typing import Any

from resources.planner.planner_port import Question
from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.contracts.step_outputs import PlannerOutput

DEFAULT_TEST_COMMAND = "pnpm test"


def answer(question: Question) -> PlannerOutput:
    """A plan from `inputs.tests`, `inputs.testCommand` and `inputs.patches`, or the build of the same command."""
    intent = question.intent
    structured = _plan(intent) if question.agent == "plan" else _build(intent)
    return PlannerOutput(prompt=question.prompt, toolcalls=[], responses=[], diffs=[], structured=structured)


def _plan(intent: Intent) -> dict[str, Any]:
    patches = intent.inputs.get("patches", [])
    plan = {
        "design": [f"Design for: {intent.goal}"],
        "files": _paths(patches) if isinstance(patches, list) else [],
        "risks": [],
        "tests": intent.inputs.get("tests", []),
        "testCommand": intent.inputs.get("testCommand", DEFAULT_TEST_COMMAND),
    }
    return plan | ({"patchPlan": patches} if patches else {})


def _paths(patches: list[Any]) -> list[Any]:
    """The paths that the patches name: of a renamed file, the old one too."""
    named = [patch.get(name) for patch in patches if isinstance(patch, dict) for name in ("fromPath", "targetPath")]
    return [path for path in named if path is not None]


def _build(intent: Intent) -> dict[str, Any]:
    return {
        "patch": [],
        "tests": intent.inputs.get("tests", []),
        "test_command": intent.inputs.get("testCommand", DEFAULT_TEST_COMMAND),
    }
