"""The approval rules of a run: those of its policy, which the constraints of its intent may only tighten.

`planApprovals` (more people), `planApprovers` (only these of the policy's), `planSelfApproval` (false),
`planAutomaticApproval` (false), beside the members of `gate_terms`. They are read from the same place as those.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sisu_pipeline.contracts.approval_policy import ApprovalRules
from sisu_pipeline.contracts.gate import TimeoutOutcome
from sisu_pipeline.contracts.person_name import PersonName
from sisu_pipeline.domain.errors import ConstraintInvalid
from sisu_pipeline.steps import gate_terms
from sisu_pipeline.steps.gate_terms import pointer_to, value_of

MOST_APPROVALS = 100
_NAMES = TypeAdapter(list[PersonName])
_APPROVALS = "planApprovals"
_APPROVERS = "planApprovers"
_SELF_APPROVAL = "planSelfApproval"
_AUTOMATIC = "planAutomaticApproval"


def check(constraints: Mapping[str, Any]) -> None:
    """Raise ConstraintInvalid for a member that no policy could accept."""
    _approvals(constraints)
    _approvers(constraints)
    _switch(constraints, _SELF_APPROVAL)
    _switch(constraints, _AUTOMATIC)


def tightened(rules: ApprovalRules, policy: str, constraints: Mapping[str, Any]) -> ApprovalRules:
    """The rules of a run under a policy, which errors call `policy`.

    Raises ConstraintInvalid when a constraint would widen the rules, or when they could never be met.
    """
    approvals = _more_approvals(rules, policy, constraints)
    named = _fewer_approvers(rules, policy, constraints)
    if named is not None and len(named) < approvals:
        raise _invalid(constraints, _APPROVERS, f"{approvals} people must approve, and it names {len(named)}")
    self_approval = rules.self_approval and _switch(constraints, _SELF_APPROVAL) is not False
    if _switch(constraints, _SELF_APPROVAL) and not rules.self_approval:
        raise _invalid(constraints, _SELF_APPROVAL, f"policy {policy} forbids self-approval")
    automatic = rules.automatic_approval
    if _switch(constraints, _AUTOMATIC) and automatic is None:
        raise _invalid(constraints, _AUTOMATIC, f"policy {policy} approves no plan automatically")
    tight = rules.model_copy(
        update={
            "approvals": approvals,
            "named_approvers": named,
            "self_approval": self_approval,
            "automatic_approval": None if _switch(constraints, _AUTOMATIC) is False else automatic,
        }
    )
    tight = tight.model_copy(
        update={"deadline_may_approve": rules.deadline_may_approve and tight.is_one_of_anybody}
    )
    _check_deadline(tight, policy, constraints)
    return tight


def _more_approvals(rules: ApprovalRules, policy: str, constraints: Mapping[str, Any]) -> int:
    approvals = _approvals(constraints)
    if approvals is None:
        return rules.approvals
    if approvals < rules.approvals:
        message = f"policy {policy} requires {rules.approvals} approvals; an intent may only require more"
        raise _invalid(constraints, _APPROVALS, message)
    admitted = rules.approvers
    if admitted is not None and not admitted.groups and len(admitted.people) < approvals:
        message = f"policy {policy} has {len(admitted.people)} approvers, so {approvals} could never approve"
        raise _invalid(constraints, _APPROVALS, message)
    return approvals


def _fewer_approvers(rules: ApprovalRules, policy: str, constraints: Mapping[str, Any]) -> list[str] | None:
    """The people whom the intent names. Whether one is in a group of the policy is known when that person votes."""
    named = _approvers(constraints)
    if named is None or rules.approvers is None or rules.approvers.groups:
        return named
    for person in named:
        if person not in rules.approvers.people:
            raise _invalid(constraints, _APPROVERS, f"{person} is not an approver of policy {policy}")
    return named


def _check_deadline(rules: ApprovalRules, policy: str, constraints: Mapping[str, Any]) -> None:
    seconds = gate_terms.ttl(constraints)
    if seconds is not None and seconds > rules.longest_deadline_s:
        message = f"policy {policy} allows at most {rules.longest_deadline_s} seconds (got {seconds})"
        raise ConstraintInvalid(gate_terms.ttl_pointer(constraints), message)
    outcome = gate_terms.on_timeout(constraints)
    if outcome is TimeoutOutcome.APPROVE and not rules.deadline_may_approve:
        message = f"under policy {policy} and these constraints a deadline cannot approve; use 'reject'"
        raise _invalid(constraints, gate_terms.ON_TIMEOUT, message)


def _approvals(constraints: Mapping[str, Any]) -> int | None:
    value = value_of(constraints, _APPROVALS)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_APPROVALS:
        raise _invalid(constraints, _APPROVALS, f"it must be a whole number from 1 to {MOST_APPROVALS}")
    return value


def _approvers(constraints: Mapping[str, Any]) -> list[str] | None:
    value = value_of(constraints, _APPROVERS)
    if value is None:
        return None
    try:
        names = _NAMES.validate_python(value, strict=True)
    except ValidationError:
        names = []
    if not names or len(set(names)) < len(names):
        raise _invalid(constraints, _APPROVERS, "it must be a list of names of people, each once")
    return names


def _switch(constraints: Mapping[str, Any], name: str) -> bool | None:
    value = value_of(constraints, name)
    if value is not None and not isinstance(value, bool):
        raise _invalid(constraints, name, "it must be a boolean")
    return value


def _invalid(constraints: Mapping[str, Any], name: str, message: str) -> ConstraintInvalid:
    return ConstraintInvalid(pointer_to(constraints, name), message)
