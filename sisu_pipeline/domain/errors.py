"""Errors of the domain: what a request or a durable row can violate."""

from typing import Any, NamedTuple

from pydantic.alias_generators import to_camel


class DeterminismBreach(Exception):
    """A row that must be equal on every execution differs. The run fails."""


class CommandTooLong(Exception):
    """A plan has a task whose command is longer than the kernel takes as an argument."""


class NotFound(Exception):
    """No row has this id."""


class Drift(NamedTuple):
    """One field of the identity tuple (a column's name) that is stored with another value."""

    field: str
    existing: Any
    incoming: Any


class IdentityDrift(Exception):
    """An intent was started again with another identity tuple."""

    def __init__(self, workflow_id: str, drift: list[Drift]) -> None:
        names = ", ".join(to_camel(each.field) for each in drift)
        super().__init__(f"Divergence in run {workflow_id}: identity drift on {names}")
        self.drift = drift
        self.fields = [each.field for each in drift]


class StartRefused(Exception):
    """The run of the intent was canceled, so that a start has no effect any more."""

    def __init__(self, workflow_id: str) -> None:
        super().__init__(
            f"the run of intent {workflow_id} was canceled, and a canceled run does not start again: "
            "change the intent, for example its inputs, and submit it"
        )


class DecisionConflict(Exception):
    """The decision conflicts: another one is recorded, the plan has changed, or the run has ended."""


class DecisionForbidden(Exception):
    """This person may not decide on this plan, by the rules of its recipe."""


class DelegationForbidden(Exception):
    """Only an operator names a substitute for another person."""

    def __init__(self, person: str) -> None:
        super().__init__(f"only {person} or a person with the role operator can name a substitute for {person}")


class PeriodRefused(Exception):
    """A period that is over before it begins."""


class NameRefused(Exception):
    """A name cannot be a person's: it is reserved for the system, blank, too long or holds control characters."""


class AdoptionRefused(Exception):
    """A version cannot be declared the successor of another one. The message names what to do."""


class DedupeConflict(Exception):
    """A dedupe key was reused for another request."""


class AnswerInvalid(Exception):
    """An answer does not fit its gate's form. `faults` are (pointer, message) pairs, sorted."""

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        super().__init__("the answer does not fit the form")
        self.faults = faults


class ConstraintInvalid(Exception):
    """A gate setting in the constraints is invalid. `pointer` is its place in the intent."""

    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(f"{pointer}: {message}")
        self.pointer = pointer
        self.message = message
