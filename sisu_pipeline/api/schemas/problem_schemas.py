"""The bodies of error responses."""

from typing import Literal

from sisu_pipeline.contracts.base import Contract


class Detail(Contract):
    """One reason; `pointer` is a JSON pointer into the request (RFC 6901)."""

    pointer: str
    """JSON pointer into the request (RFC 6901); empty for the whole body."""
    message: str
    """What is wrong at that place."""


class Problem(Contract):
    """The body of every error response."""

    error: str
    """Description of the error for people."""
    code: str
    """Stable code of the error for programs."""
    details: list[Detail]
    """Reasons, sorted by pointer; at most 100."""


class InternalError(Contract):
    """The body of every 500; the cause is in the server's log."""

    error: Literal["internal error"] = "internal error"
    """Always `internal error`."""
