"""The gate settings in an intent's constraints: deadline, outcome of the deadline, question.

`planApprovalTimeoutS` (1 second to 30 days), `planApprovalOnTimeout` (`reject`, or `approve` where allowed),
`askUser` (true, or `{question, form}`), and alternative spellings of the first and the last. They are read from
`constraints.testHooks` if that is an object, else from `constraints` itself.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sisu_pipeline.contracts.approval_policy import LONGEST_DEADLINE_S, ApprovalRules
from sisu_pipeline.contracts.base import ContractInvalid
from sisu_pipeline.contracts.gate import TimeoutOutcome
from sisu_pipeline.contracts.step_outputs import Ask
from sisu_pipeline.domain.errors import ConstraintInvalid
from sisu_pipeline.steps.step_result import Gate

_TTL = ("planApprovalTimeoutS", "plan_approval_timeout_s", "timeoutS")
_ASK = ("askUser", "ask_user", "waitForHumanInput")
ON_TIMEOUT = "planApprovalOnTimeout"
# The original's form: one text.
PLAIN_ASK = Ask(
    question="Question",
    form={
        "type": "object",
        "properties": {"answer": {"type": "string", "minLength": 1}},
        "required": ["answer"],
        "additionalProperties": False,
    },
)


def with_terms(gate: Gate, constraints: Mapping[str, Any], default_ttl_s: int, rules: ApprovalRules) -> Gate:
    """The gate with its deadline and the outcome of the deadline. An unanswered ask gate ends the run.

    The rules limit both: an intent of an earlier release may hold constraints that its policy does not allow.
    Raises ConstraintInvalid.
    """
    ttl_s = min(ttl(constraints) or default_ttl_s, rules.longest_deadline_s)
    may_approve = gate.form is None and rules.deadline_may_approve
    outcome = on_timeout(constraints) if may_approve else TimeoutOutcome.REJECT
    return replace(gate, ttl_s=ttl_s, on_timeout=outcome)


def ttl(constraints: Mapping[str, Any]) -> int | None:
    """The seconds a gate waits, if the constraints set them. Raises ConstraintInvalid."""
    found = _first(constraints, _TTL)
    if found is None:
        return None
    pointer, value = found
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LONGEST_DEADLINE_S:
        raise ConstraintInvalid(pointer, f"it must be a whole number of seconds from 1 to {LONGEST_DEADLINE_S}")
    return value


def ttl_pointer(constraints: Mapping[str, Any]) -> str:
    """The place of the deadline in an intent whose constraints set one."""
    return next(pointer_to(constraints, name) for name in _TTL if value_of(constraints, name) is not None)


def on_timeout(constraints: Mapping[str, Any]) -> TimeoutOutcome:
    """The outcome of the deadline: reject, unless the constraints set approve. Raises ConstraintInvalid."""
    found = _first(constraints, (ON_TIMEOUT,))
    if found is None:
        return TimeoutOutcome.REJECT
    pointer, value = found
    if value not in list(TimeoutOutcome):
        raise ConstraintInvalid(pointer, "it must be 'reject' or 'approve'")
    return TimeoutOutcome(value)


def ask(constraints: Mapping[str, Any]) -> Ask | None:
    """The question in the constraints, if any. Raises ConstraintInvalid."""
    found = _first(constraints, _ASK)
    if found is None or found[1] is False:
        return None
    pointer, value = found
    if value is True:
        return PLAIN_ASK
    try:
        return Ask.from_json(value)
    except ContractInvalid:
        raise ConstraintInvalid(pointer, "it must be a boolean or {question, form}") from None


def form_fields(constraints: Mapping[str, Any]) -> list[str] | None:
    """The names of the fields of the form in the constraints, in order; None without a form."""
    found = _first(constraints, _ASK)
    form = found[1].get("form") if found is not None and isinstance(found[1], dict) else None
    properties = form.get("properties") if isinstance(form, dict) else None
    return list(properties) if isinstance(properties, dict) else None


def value_of(constraints: Mapping[str, Any], name: str) -> Any:
    """The value of a member of the constraints about gates; None when it is absent."""
    hooks = constraints.get("testHooks")
    return (hooks if isinstance(hooks, dict) else constraints).get(name)


def pointer_to(constraints: Mapping[str, Any], name: str) -> str:
    """The place of a member of the constraints about gates in the intent."""
    base = "/constraints/testHooks" if isinstance(constraints.get("testHooks"), dict) else "/constraints"
    return f"{base}/{name}"


def _first(constraints: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str, Any] | None:
    for name in names:
        value = value_of(constraints, name)
        if value is not None:
            return pointer_to(constraints, name), value
    return None
