"""Operations of chaos scenarios: which wait for the state of their run, and which are over."""

import pytest

from sisu_pipeline.proof.chaos.scenarios import Operation, Scenario, ScenarioKind
from sisu_pipeline.proof.chaos.workload import ScenarioOutcome, perform
from sisu_pipeline.proof.harness.running_stack import Json


class Run:
    """The API of one run without a gate."""

    def __init__(self, status: str) -> None:
        self.status = status

    def get(self, path: str) -> tuple[int, Json]:
        return 200, {"gates": []} if path.endswith("/gates") else {"status": self.status, "nextAction": None}

    def post(self, path: str, body: Json) -> tuple[int, Json]:
        raise AssertionError(f"nothing is posted: {path} {body}")


@pytest.mark.parametrize("operation", [Operation.ANSWER, Operation.EDIT, Operation.REVISE])
@pytest.mark.parametrize(
    ("status", "is_over"),
    [("running", False), ("waiting_input", False), ("retries_exceeded", True), ("canceled", True)],
)
def test_an_operation_waits_for_its_gate_until_the_run_has_ended(
    operation: Operation, status: str, is_over: bool
) -> None:
    scenario = Scenario(0, ScenarioKind.ASKED, "goal", {"tests": []}, "tenant", ())
    outcome = ScenarioOutcome(scenario, workflow_id="ih_0")
    assert perform(Run(status), outcome, operation) is is_over
    assert (outcome.responses, outcome.wrong_responses) == ([], [])


@pytest.mark.parametrize("status", ["running", "succeeded"])
def test_a_retry_waits_for_a_failure(status: str) -> None:
    scenario = Scenario(0, ScenarioKind.RETRIED, "goal", {"tests": []}, "tenant", ())
    assert perform(Run(status), ScenarioOutcome(scenario, "ih_0"), Operation.RETRY) is False
