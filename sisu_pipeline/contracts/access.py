"""Who may do what: the roles of API tokens. Every role may read."""

from enum import StrEnum

from sisu_pipeline.contracts.base import Contract
from sisu_pipeline.contracts.intent import Text


class Role(StrEnum):
    """What a token's owner may do beside reading."""

    SUBMITTER = "submitter"
    """Submit intents and start their runs."""
    APPROVER = "approver"
    """Decide at gates."""
    OPERATOR = "operator"
    """Cancel and retry runs."""
    VIEWER = "viewer"
    """Nothing but reading."""


class SessionRequest(Contract):
    """Trade a token for a cookie that only this site's pages can use."""

    token: Text
