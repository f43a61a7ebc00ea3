"""What an operator asks of a run: cancel it, or try it again (reference §B13)."""

from pydantic import Field

from sisu_pipeline.contracts.base import Contract
from sisu_pipeline.contracts.intent import Text


class OperationRequest(Contract):
    """Who asks, and why; both stand in the run's record."""

    actor: Text = "operator"
    reason: str = Field(default="", max_length=2000)
