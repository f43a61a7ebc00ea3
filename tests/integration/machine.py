"""Running a state machine against real parts: no example is stopped for being slow."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test


def run(
    machine: type[RuleBasedStateMachine],
    *,
    examples: int,
    steps: int,
    phases: Sequence[Phase] = tuple(Phase),
    **parts: Any,
) -> None:
    """So many orderings of so many steps each; the machine finds the parts it needs as attributes of its class."""
    with pytest.MonkeyPatch.context() as patch:
        for name, part in parts.items():
            patch.setattr(machine, name, part, raising=False)
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                phases=phases,
                suppress_health_check=list(HealthCheck),
            ),
        )
