"""Error responses: the status, code and message of each exception. Unexpected exceptions reveal nothing."""

import json
import logging
from collections.abc import Iterable
from typing import Any

from fastapi import Request, Response
from pydantic.alias_generators import to_camel
from starlette.exceptions import HTTPException

from resources.failure_classification import is_database_away
from resources.git.git_errors import GitRefused, GitUnavailable
from sisu_pipeline.api.http.json_response import reply
from sisu_pipeline.api.schemas.problem_schemas import Detail, InternalError, Problem
from sisu_pipeline.domain.canonical import canonical_json
from sisu_pipeline.domain.changes.plan_changes import ChangeInvalid
from sisu_pipeline.domain.changes.repository_base import InputInvalid
from sisu_pipeline.domain.errors import (
    AdoptionRefused,
    AnswerInvalid,
    CommandTooLong,
    ConstraintInvalid,
    DecisionConflict,
    DecisionForbidden,
    DedupeConflict,
    DelegationForbidden,
    Drift,
    IdentityDrift,
    NameRefused,
    NotFound,
    PeriodRefused,
    StartRefused,
)
from sisu_pipeline.domain.plan_edit import EditRefused
from sisu_pipeline.domain.policy import PolicyViolation, SubmissionForbidden
from sisu_pipeline.domain.status import IllegalTransition
from sisu_pipeline.domain.untrusted_text import for_cell

MAX_DETAILS = 100
_MAX_TEXT = 500

logger = logging.getLogger(__name__)


class Refusal(Exception):
    """A failure the client caused or may wait out."""

    def __init__(self, status: int, code: str, error: str, details: Iterable[Detail] = ()) -> None:
        super().__init__(error)
        self.status = status
        self.problem = Problem(
            # A sentence may quote a name that was accepted as it was: a line feed in it, say.
            error=bounded(for_cell(error)),
            code=code,
            details=sorted(details, key=lambda each: (each.pointer, each.message))[:MAX_DETAILS],
        )
        self.headers: dict[str, str] = {}


def answer(request: Request, failure: Exception) -> Response:
    """The response to an exception. An unexpected one is logged and hidden from the client."""
    refusal = refusal_of(failure)
    if refusal is None:
        logger.error("%s %s failed", request.method, request.url.path, exc_info=failure)
        return reply(InternalError(), 500)
    return reply(refusal.problem, refusal.status, refusal.headers)


def refusal_of(failure: Exception) -> Refusal | None:  # noqa: PLR0911, PLR0912, C901 — a table with one line per exception
    """The refusal that an exception means; None for an unexpected one, which is a 500."""
    text = str(failure)
    match failure:
        case Refusal():
            return failure
        case PolicyViolation():
            return Refusal(400, "queue_policy_violation", text)
        case NotFound():
            return Refusal(404, "not_found", text)
        case IdentityDrift():
            return Refusal(409, "identity_drift", text, map(_drift_detail, failure.drift))
        case StartRefused():
            return Refusal(409, "run_canceled", text)
        case ConstraintInvalid():
            return Refusal(
                400, "invalid_constraint", text, [Detail(pointer=failure.pointer, message=failure.message)]
            )
        case InputInvalid():
            return Refusal(400, "invalid_input", text, [Detail(pointer=failure.pointer, message=failure.message)])
        case GitRefused():
            return Refusal(409, "repository_refused", text)
        case GitUnavailable():
            return Refusal(503, "repository_unavailable", text)
        case AnswerInvalid():
            faults = [Detail(pointer=f"/answer{pointer}", message=message) for pointer, message in failure.faults]
            return Refusal(400, "invalid_answer", text, faults)
        case DecisionForbidden():
            return Refusal(403, "decision_forbidden", text)
        case DelegationForbidden():
            return Refusal(403, "delegation_forbidden", text)
        case PeriodRefused():
            return Refusal(400, "invalid_period", text)
        case NameRefused():
            return Refusal(400, "invalid_name", text)
        case SubmissionForbidden():
            return Refusal(403, "submission_forbidden", text)
        case AdoptionRefused():
            return Refusal(409, "adoption_refused", text)
        case DedupeConflict():
            return Refusal(409, "dedupe_conflict", text)
        case ChangeInvalid():
            fault = Detail(pointer=f"/plan/patchPlan/{failure.index}", message=failure.message)
            return Refusal(400, "invalid_change", text, [fault])
        case CommandTooLong():
            return Refusal(400, "invalid_change", text, [Detail(pointer="/plan/testCommand", message=text)])
        case EditRefused():
            return Refusal(409, "edit_refused", text)
        case DecisionConflict():
            return Refusal(409, "decision_conflict", text)
        case IllegalTransition():
            return Refusal(409, "illegal_state", text)
        case HTTPException():
            return _routing_refusal(failure)
        case _ if is_unreachable(failure):
            return Refusal(503, "database_unavailable", "the database cannot be reached or is busy: try again")
        case _:
            return None


def is_unreachable(failure: Exception) -> bool:
    """Whether Postgres could not be reached or was busy, as opposed to having refused a statement for good."""
    return is_database_away(failure)


def bounded(text: str, limit: int = _MAX_TEXT) -> str:
    """At most `limit` characters: no answer echoes a request of megabytes."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def quoted(value: Any) -> str:
    """A value of the request in ASCII JSON, bounded; safe to print whatever it holds."""
    return bounded(json.dumps(value), 80)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that can refuse so; every route can answer 401, 403, 500 and 503."""
    of_bodies = (415,) if 413 in statuses else ()
    models = dict.fromkeys((*statuses, *of_bodies, 401, 403, 503), Problem) | {500: InternalError}
    return {status: {"model": model, "description": _MEANINGS[status]} for status, model in sorted(models.items())}


_MEANINGS = {
    400: "The request is malformed or violates its contract or a policy. Nothing was written.",
    401: "Authentication is required: the token is missing, unknown or revoked.",
    403: "Cross-site request, or the caller lacks the required role or right.",
    404: "The resource does not exist.",
    409: "The request conflicts with the stored state.",
    413: "The body is larger than this route accepts.",
    415: "The body is compressed; send it as it is.",
    429: "Too many open streams; close one and try again.",
    500: "Internal error. The server's log has the cause.",
    503: "The database, or the repository of the run, cannot be reached. Retry later.",
}


def _drift_detail(drift: Drift) -> Detail:
    existing, incoming = (bounded(canonical_json(value), 80) for value in (drift.existing, drift.incoming))
    return Detail(pointer=f"/{to_camel(drift.field)}", message=f"existing {existing}, incoming {incoming}")


def _routing_refusal(failure: HTTPException) -> Refusal:
    if failure.status_code != 405:
        return Refusal(failure.status_code, "not_found", "not found")
    refusal = Refusal(405, "method_not_allowed", "method not allowed")
    # Starlette joins a set here; sorted, the same request gets the same bytes from every process.
    allowed = (failure.headers or {}).get("Allow", "")
    refusal.headers = {"Allow": ", ".join(sorted(name.strip() for name in allowed.split(",")))}
    return refusal
