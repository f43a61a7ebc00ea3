"""Running a state machine against the API: few examples, and none is stopped for being slow."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.integration.api.conftest import Api


def run(machine: type[RuleBasedStateMachine], api: Api, *, examples: int, steps: int) -> None:
    """So many orderings of so many steps each; the machine finds the API as its `api`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "api", api, raising=False)
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
