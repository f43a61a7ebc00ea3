"""Roles and people. Every role may read."""

from dataclasses import dataclass
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
    """Cancel and retry runs, apply recipes and policies."""
    VIEWER = "viewer"
    """Read only."""


@dataclass(frozen=True)
class Person:
    """An identified person: the name of their decisions, their rights, and the groups that approval rules name."""

    name: str
    roles: frozenset[Role]
    groups: frozenset[str] = frozenset()


class SessionRequest(Contract):
    """Exchange a token for a session cookie."""

    token: Text = Field(repr=False)
    """API token."""
