"""Kinds of failures, by what a repetition would lead to. `resources/failure_classification.py` decides the kind."""

from enum import StrEnum
from http import HTTPStatus

_PASSING_STATUSES = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


class FailureKind(StrEnum):
    """What a repetition of the failed work would lead to."""

    PERMANENT = "permanent"
    """The same failure: the intent or task fails once."""
    PASSING = "passing"
    """Possibly success: the work is repeated, with pauses and a bound."""
    FATAL = "fatal"
    """The same failure in this process only: the process exits and its work is requeued."""


def kind_of_status(status: int) -> FailureKind:
    """The kind of an HTTP answer that is no success."""
    is_passing = status in _PASSING_STATUSES or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return FailureKind.PASSING if is_passing else FailureKind.PERMANENT
