"""The file of receivers of notifications (`SISU_NOTIFICATIONS`): who is notified of which events, and how."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from sisu_pipeline.contracts.approval_policy import GroupName
from sisu_pipeline.contracts.base import Contract

DEFAULT_REMINDER_MINUTES = 30
_LONGEST_REMINDER_MINUTES = 30 * 24 * 60

_Text = Annotated[str, Field(min_length=1, max_length=1024)]
_Names = Annotated[list[_Text], Field(min_length=1, max_length=1000)]


class EventKind(StrEnum):
    """What people are notified of."""

    GATE_OPENED = "gate.opened"
    """A plan waits for approval, or a question for an answer."""
    GATE_REMINDER = "gate.reminder"
    """The deadline of a gate is near, and it still waits."""
    GATE_DECIDED = "gate.decided"
    """A plan was approved or rejected, changes to it were requested, or a question was answered."""
    GATE_TIMED_OUT = "gate.timed_out"
    """The deadline of a gate passed without a decision."""
    RUN_ENDED = "run.ended"
    """A run succeeded, failed or was canceled."""


class Receiver(Contract):
    """One receiver: a service by its Apprise URL, or a webhook with the key of its signature."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    """Name of the receiver, in lists and rows."""
    url: _Text | None = Field(default=None, repr=False)
    """Apprise URL of a service; it usually holds a password or token."""
    url_file: _Text | None = None
    """File whose content is that URL."""
    webhook: _Text | None = Field(default=None, repr=False)
    """Address that messages are posted to as signed JSON."""
    secret: _Text | None = Field(default=None, repr=False)
    """Key of the webhook's signature."""
    secret_file: _Text | None = None
    """File whose content is that key."""
    events: list[EventKind] = Field(default=list(EventKind), min_length=1, strict=False)
    """Events that the receiver gets; by default all."""
    recipes: _Names | None = None
    """Names of recipes: only the events of their runs."""
    groups: list[GroupName] | None = Field(default=None, min_length=1, max_length=100)
    """Groups of approvers: only the events of runs whose policy names one of them."""
    partitions: _Names | None = None
    """Queue partition keys: only the events of their runs."""
    tenants: _Names | None = None
    """Tenants: only the events of their runs."""
    reminder_minutes: int = Field(default=DEFAULT_REMINDER_MINUTES, ge=1, le=_LONGEST_REMINDER_MINUTES)
    """Minutes before a deadline at which the reminder is sent."""

    @model_validator(mode="after")
    def _is_reachable(self) -> Self:
        if sum(value is not None for value in (self.url, self.url_file, self.webhook)) != 1:
            raise ValueError(f"receiver {self.name!r} must have one of url, urlFile and webhook")
        secrets = sum(value is not None for value in (self.secret, self.secret_file))
        if secrets != (self.webhook is not None):
            with_key = "secret or secretFile, the key of its signature"
            rule = with_key if self.webhook else "no secret without a webhook"
            raise ValueError(f"receiver {self.name!r} must have {rule}")
        if self.webhook is not None and not self.webhook.startswith(("https://", "http://")):
            raise ValueError(f"the webhook of receiver {self.name!r} must begin with https:// or http://")
        return self


class ReceiverFile(Contract):
    """The file as a whole."""

    receivers: list[Receiver] = Field(max_length=100)
    """The receivers, each with a name of its own."""

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        names = [receiver.name for receiver in self.receivers]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"receiver {twice!r} is listed more than once: give each receiver a name of its own")
        return self
