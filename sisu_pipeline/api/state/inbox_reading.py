"""One reading of the inbox, shared by all streams that wait for it at that moment."""

from dataclasses import dataclass


@dataclass(frozen=True)
class InboxReading:
    """The inbox as the event that streams send. Readings with equal `content` differ in their time alone."""

    event: str
    content: str
    has_active: bool
