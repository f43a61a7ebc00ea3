"""DecideST: the approved plan becomes what to execute."""

from typing import Any

import pytest

from sisu_pipeline.contracts.base import ContractInvalid
from sisu_pipeline.contracts.step_outputs import PatchedPlan, PlannerOutput
from sisu_pipeline.steps.compile import PlannerAnswerInvalid
from sisu_pipeline.steps.decide import build_prompt, decide

BUILD: dict[str, Any] = {"patch": [], "tests": ["t"], "test_command": "pytest"}


def an_answer(structured: dict[str, Any] | None) -> PlannerOutput:
    return PlannerOutput(prompt="p", toolcalls=[], responses=[], diffs=[], structured=structured)


def test_the_output_is_the_planners_whole_answer() -> None:
    result = decide("run_1", an_answer(BUILD))
    assert result.output == {"prompt": "p", "toolcalls": [], "responses": [], "diffs": [], "structured": BUILD}
    assert [artifact.kind for artifact in result.artifacts] == ["none"]


def test_a_proposed_patch_is_recorded_under_its_path() -> None:
    result = decide("run_1", an_answer({**BUILD, "patch": [{"path": "src/a.ts", "diff": "+x"}]}))
    (patch,) = result.artifacts
    assert (patch.kind, patch.idx, patch.inline) == ("patch", 0, {"path": "src/a.ts", "diff": "+x"})
    assert patch.uri == "artifact://run/run_1/step/DecideST/task//src/a.ts.patch"


def test_an_answer_without_a_build_is_refused() -> None:
    with pytest.raises(PlannerAnswerInvalid):
        decide("run_1", an_answer(None))


@pytest.mark.parametrize("change", [{"test_command": 1}, {"tests": None}, {"testCommand": "x"}, {"patch": {}}])
def test_a_build_out_of_contract_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ContractInvalid):
        decide("run_1", an_answer(BUILD | change))


def test_the_prompt_carries_the_approved_plan() -> None:
    plan = PatchedPlan(goal="g", design=["d"], files=[], risks=[], tests=["t"])
    assert build_prompt(plan).splitlines()[:3] == [
        'Approved plan: {"design":["d"],"files":[],"risks":[],"tests":["t"]}',
        "",
        "Goal: g",
    ]
