"""What starts without importing the contracts repeats names of them: the console the steps, the client statuses."""

from sisu_pipeline.client import sisu_client
from sisu_pipeline.console import api_client, formatting
from sisu_pipeline.contracts.operation import CLI_AGENT
from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.domain.status import TERMINAL, RunStatus


def test_the_console_knows_the_steps_of_the_contract_in_their_order() -> None:
    assert list(formatting.STEPS) == list(StepId)


def test_the_client_knows_the_statuses_in_which_a_run_ends_or_waits() -> None:
    assert sisu_client.ENDED == TERMINAL
    assert sisu_client.WAITING == RunStatus.WAITING_INPUT


def test_the_commands_have_the_user_agent_that_the_api_knows() -> None:
    assert api_client.AGENT == CLI_AGENT
