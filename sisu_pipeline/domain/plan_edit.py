"""Rules for edits of a plan: the goal and the question stay, the budget and the workspace hold."""

from collections.abc import Mapping
from typing import Any

from sisu_pipeline.contracts.step_outputs import Plan
from sisu_pipeline.domain.policy import budget_violation
from sisu_pipeline.domain.workspace_files import PathNotAllowed, relative_parts


class EditRefused(Exception):
    """The edited plan violates a rule. Nothing was written."""


def check(compiled: Plan, edited: Plan, budget: Mapping[str, Any] | None) -> None:
    """Raises EditRefused with the first broken rule. The contract itself is checked where the plan is read."""
    if edited.goal != compiled.goal:
        raise EditRefused("the goal cannot be edited; submit another intent")
    if edited.ask != compiled.ask:
        raise EditRefused("the question cannot be edited after its gate has opened")
    limit = (budget or {}).get("maxFanout")
    tasks = max(1, len(set(edited.tests)))
    if limit is not None and tasks > limit:
        raise EditRefused(budget_violation("maxFanout", tasks, limit, "edit"))
    paths = [patch.target_path for patch in edited.patch_plan or []]
    for path in paths:
        try:
            relative_parts(path)
        except PathNotAllowed as failure:
            raise EditRefused(str(failure)) from None
