"""The gate settings in an intent's constraints: deadline, outcome of the deadline, question.

`planApprovalTimeoutS` (1..86400), `planApprovalOnTimeout` (`reject` or `approve`), `askUser` (true, or
`{question, form}`), and alternative spellings of the first and the last. They are read from `constraints.testHooks`
if that is an object, else from `constraints` itself.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sisu_pipeline.contracts.base import ContractInvalid
from sisu_pipeline.contracts.gate import TimeoutOutcome
from sisu_pipeline.contracts.step_outputs import Ask
from sisu_pipeline.steps.step_result import Gate

LONGEST_TTL_S = 86_400
_TTL = ("planApprovalTimeoutS", "plan_approval_timeout_s", "timeoutS")
_ASK = ("askUser", "ask_user", "waitForHumanInput")
_ON_TIMEOUT = "planApprovalOnTimeout"
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


class ConstraintInvalid(Exception):
    """A gate setting in the constraints is invalid. `pointer` is its place in the intent."""

    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(f"{pointer}: {message}")
        self.pointer = pointer
        self.message = message


def with_terms(gate: Gate, constraints: Mapping[str, Any], default_ttl_s: int) -> Gate:
    """The gate with its deadline and the outcome of the deadline. An unanswered ask gate ends the run.

    Raises ConstraintInvalid.
    """
    ttl_s = ttl(constraints) or default_ttl_s
    outcome = TimeoutOutcome.REJECT if gate.form is not None else on_timeout(constraints)
    return replace(gate, ttl_s=ttl_s, on_timeout=outcome)


def ttl(constraints: Mapping[str, Any]) -> int | None:
    """The seconds a gate waits, if the constraints set them. Raises ConstraintInvalid."""
    found = _first(constraints, _TTL)
    if found is None:
        return None
    pointer, value = found
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LONGEST_TTL_S:
        raise ConstraintInvalid(pointer, f"it must be a whole number of seconds from 1 to {LONGEST_TTL_S}")
    return value


def on_timeout(constraints: Mapping[str, Any]) -> TimeoutOutcome:
    """The outcome of the deadline: reject, unless the constraints set approve. Raises ConstraintInvalid."""
    found = _first(constraints, (_ON_TIMEOUT,))
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


def _first(constraints: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str, Any] | None:
    hooks = constraints.get("testHooks")
    place, base = (hooks, "/constraints/testHooks") if isinstance(hooks, dict) else (constraints, "/constraints")
    for name in names:
        if place.get(name) is not None:
            return f"{base}/{name}", place[name]
    return None
