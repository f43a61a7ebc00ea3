"""The console repeats the names of the steps, so that the command line starts without importing the contracts."""

from sisu_pipeline.console import formatting
from sisu_pipeline.contracts.step_outputs import StepId


def test_the_console_knows_the_steps_of_the_contract_in_their_order() -> None:
    assert list(formatting.STEPS) == list(StepId)
