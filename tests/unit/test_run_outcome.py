"""The outcome of a run in words for people, next to the names of its statuses."""

import pytest

from sisu_pipeline.contracts.gate import DEADLINE_ACTOR, Decision
from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store.outputs.run_results import Ending

EXCEEDED = RunStatus.RETRIES_EXCEEDED


def ending(
    decision: Decision | None = None,
    by: str | None = None,
    failed: int = 0,
    finished: int = 0,
    has_agent: bool = False,
) -> Ending:
    return Ending("run", decision, by, failed, finished, has_agent)


@pytest.mark.parametrize(
    ("made", "status", "last_step", "outcome"),
    [
        (ending(), RunStatus.SUCCEEDED, StepId.EXECUTE, "succeeded"),
        (ending(), RunStatus.CANCELED, None, "canceled"),
        (ending(Decision.REJECTED, "ann"), EXCEEDED, StepId.APPLY_PATCH, "rejected by ann"),
        (ending(Decision.REJECTED, DEADLINE_ACTOR), EXCEEDED, StepId.APPLY_PATCH, "rejected at the deadline"),
        (ending(Decision.APPROVED, "ann", 1, 14), EXCEEDED, StepId.DECIDE, "failed: 1 of 14 tests"),
        (ending(Decision.APPROVED, "ann", 1, 1), EXCEEDED, StepId.DECIDE, "failed: 1 of 1 test"),
        (ending(), EXCEEDED, None, "invalid input"),
        (ending(has_agent=True), EXCEEDED, None, "failed: no plan"),
        (ending(), EXCEEDED, StepId.COMPILE, "failed: cannot apply the patches"),
        (ending(Decision.APPROVED, "ann"), RunStatus.FAILED, StepId.DECIDE, "failed: cannot execute the tasks"),
        (ending(), RunStatus.RUNNING, StepId.COMPILE, None),
    ],
)
def test_the_outcome_of_an_ending(
    made: Ending, status: RunStatus, last_step: StepId | None, outcome: str | None
) -> None:
    assert made.outcome(status, last_step, None) == outcome


@pytest.mark.parametrize("error", ["parked: 5 workers died", "Dagster run 1 failed around the steps: …"])
def test_a_failure_around_the_steps_is_not_blamed_on_the_input(error: str) -> None:
    assert ending().outcome(EXCEEDED, None, error) == "failed: no plan"
