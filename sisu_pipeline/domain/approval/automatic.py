"""Plans of low risk, which a policy approves by itself."""

import re
from fnmatch import fnmatchcase

from sisu_pipeline.contracts.approval_policy import AutomaticApproval
from sisu_pipeline.contracts.planned_work import ChangeOp, CompletePlan, PlannedChange
from sisu_pipeline.contracts.step_outputs import Plan

# The shell executes the command and the test's name after it: a name must hold nothing that the shell interprets.
_PLAIN_TEST = re.compile(r"[A-Za-z0-9_./:@%+,=][A-Za-z0-9_./:@%+,=-]*")
_PLAIN_MODE = "100644"


def is_low_risk(rule: AutomaticApproval, plan: Plan, complete: CompletePlan) -> bool:
    """Whether every condition of the rule holds for a plan and for everything that is executed with it."""
    size = sum(len(patch.content or b"") for patch in plan.patch_plan or [])
    return (
        plan.ask is None
        and plan.test_command in rule.commands
        and bool(plan.tests)
        and all(_PLAIN_TEST.fullmatch(test) for test in plan.tests)
        and len(complete.tasks) <= rule.max_tasks
        and not any(task.net for task in complete.tasks)
        and size <= rule.max_bytes
        and all(_is_allowed(change, rule.paths) for change in complete.changes)
    )


def _is_allowed(change: PlannedChange, paths: list[str]) -> bool:
    is_plain = change.op is not ChangeOp.DELETE and change.mode in (_PLAIN_MODE, change.old_mode)
    return is_plain and any(fnmatchcase(change.path, pattern) for pattern in paths)
