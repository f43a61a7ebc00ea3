"""The request to cancel or retry a run."""

from pydantic import Field

from sisu_pipeline.contracts.base import Contract
from sisu_pipeline.contracts.person_name import PersonName

CLI_AGENT = "sisu-cli"
"""The user agent that the `sisu` command sends."""


class OperationRequest(Contract):
    """The operator and the reason. Both are recorded with the run."""

    actor: PersonName = "operator"
    """Name of the operator; with tokens, the owner of the token replaces it."""
    reason: str = Field(default="", max_length=2000)
    """Reason for the operation."""
