"""Roles of API tokens. Every role may read."""

from enum import StrEnum

from pydantic import Field

from sisu_pipeline.contracts.base import Contract
from sisu_pipeline.contracts.intent import Text


class Role(StrEnum):
    """The rights of a token's owner in addition to reading."""

    SUBMITTER = "submitter"
    """Submit intents and start their runs."""
    APPROVER = "approver"
    """Approve and reject plans, and answer questions."""
    OPERATOR = "operator"
    """Cancel and retry runs."""
    VIEWER = "viewer"
    """Read only."""


class SessionRequest(Contract):
    """Exchange a token for a session cookie."""

    token: Text = Field(repr=False)
    """API token."""
