"""Rules for edits of a plan: the goal and the question stay, the budget holds."""

from collections.abc import Mapping
from typing import Any

from sisu_pipeline.contracts.step_outputs import Plan
from sisu_pipeline.domain.policy import budget_violation


class EditRefused(Exception):
    """The edited plan violates a rule. Nothing was written."""


def check(compiled: Plan, edited: Plan, budget: Mapping[str, Any] | None) -> None:
    """Raises EditRefused with the first broken rule.

    The contract is checked where the plan is read, its patches where they are completed (`plan_changes.py`).
    """
    if edited.goal != compiled.goal:
        raise EditRefused("the goal cannot be edited; submit another intent")
    if edited.ask != compiled.ask:
        raise EditRefused("the question cannot be edited after its gate has opened")
    limit = (budget or {}).get("maxFanout")
    tasks = max(1, len(set(edited.tests)))
    if limit is not None and tasks > limit:
        raise EditRefused(budget_violation("maxFanout", tasks, limit, "edit"))
