"""Requests of operators: cancel or retry a run, declare the successor of a version."""

from typing import Annotated

from pydantic import Field

from sisu_pipeline.contracts.base import Contract
from sisu_pipeline.contracts.person_name import PersonName

VersionName = Annotated[str, Field(min_length=1, max_length=1000)]

CLI_AGENT = "sisu-cli"
"""The user agent that the `sisu` command sends."""


class OperationRequest(Contract):
    """The operator and the reason. Both are recorded with the run."""

    actor: PersonName = "operator"
    """Name of the operator; with tokens, the owner of the token replaces it."""
    reason: str = Field(default="", max_length=2000)
    """Reason for the operation."""


class VersionAdoption(OperationRequest):
    """Declare that workers of the new version finish the work of the old one."""

    old_version: VersionName
    """Version whose work is handed over."""
    new_version: VersionName
    """Version whose workers finish it."""
    while_running: bool = False
    """True: also while workers of the old version execute work, which they finish."""
