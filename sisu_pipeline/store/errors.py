"""What can go wrong with durable rows."""


class DeterminismBreach(Exception):
    """A row that must be the same on every execution is not (design §3 "exactly once"). The run fails."""


class NotFound(Exception):
    """No row has this id."""


class IdentityDrift(Exception):
    """The same intent was started again with another identity tuple."""

    def __init__(self, workflow_id: str, fields: list[str]) -> None:
        super().__init__(f"Divergence in run {workflow_id}: identity drift on {', '.join(fields)}")
        self.fields = fields


class DecisionConflict(Exception):
    """The plan was already decided otherwise, is not the plan that was read, or the run has ended."""
