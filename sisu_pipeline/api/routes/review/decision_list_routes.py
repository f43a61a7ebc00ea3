"""Decisions about many plans in one request, each with its own result."""

import asyncio
import logging

from fastapi import APIRouter, Response

from sisu_pipeline.api.auth.authentication import CallerOf
from sisu_pipeline.api.auth.guarded_route import GuardedRoute
from sisu_pipeline.api.http.error_responses import Refusal, documented, refusal_of
from sisu_pipeline.api.http.json_response import reply
from sisu_pipeline.api.http.openapi import request_body
from sisu_pipeline.api.http.query_parameters import PlainRequest
from sisu_pipeline.api.http.request_body import FormBody, parse_aside
from sisu_pipeline.api.http.request_channel import ChannelOf
from sisu_pipeline.api.routes.decision_batches import decide
from sisu_pipeline.api.schemas.review_schemas import DecisionResults, ItemOutcome, ItemResult
from sisu_pipeline.api.schemas.run_schemas import Approvals
from sisu_pipeline.api.state.app_state import AppStateOf
from sisu_pipeline.contracts.gate import Decision
from sisu_pipeline.contracts.review_requests import DecisionsRequest
from sisu_pipeline.store.rules.decisions import RecordedDecision

router = APIRouter(route_class=GuardedRoute, dependencies=[PlainRequest], tags=["gates"])
logger = logging.getLogger(__name__)


@router.post(
    "/gates/decide",
    response_model=DecisionResults,
    responses=documented(400, 413),
    openapi_extra=request_body(DecisionsRequest, required=True),
)
async def decide_many(raw: FormBody, caller: CallerOf, channel: ChannelOf, state: AppStateOf) -> Response:
    """Approve or reject up to 200 plans, each named with the hash that was read.

    Each plan is decided as a request about it alone would be, and has a result of its own; a refused one changes
    nothing. A request that breaks its contract is a 400, and nothing is written.
    """
    request = await parse_aside(raw, DecisionsRequest)
    wanted = request.requests()
    decided = await asyncio.gather(
        *(decide(state, run, item, caller, channel) for run, item in wanted), return_exceptions=True
    )
    results = [_result(run, each) for (run, _), each in zip(wanted, decided, strict=True)]
    refused = sum(result.outcome is ItemOutcome.REFUSED for result in results)
    return reply(DecisionResults(results=results, recorded=len(results) - refused, refused=refused))


def _result(run_id: str, decided: RecordedDecision | BaseException) -> ItemResult:
    if isinstance(decided, BaseException):
        if not isinstance(decided, Exception):
            raise decided
        return ItemResult(
            run_id=run_id, outcome=ItemOutcome.REFUSED, decided_at=None, problem=_refusal(run_id, decided).problem
        )
    approvals = None if decided.is_final else Approvals(given=decided.given, required=decided.required)
    return ItemResult(run_id=run_id, outcome=_outcome(decided), decided_at=decided.decided_at, approvals=approvals)


def _outcome(decided: RecordedDecision) -> ItemOutcome:
    if not decided.is_final:
        return ItemOutcome.PENDING
    return ItemOutcome.APPROVED if decided.decision is Decision.APPROVED else ItemOutcome.REJECTED


def _refusal(run_id: str, failure: Exception) -> Refusal:
    refusal = refusal_of(failure)
    if refusal is None:
        logger.error("the decision about %s failed", run_id, exc_info=failure)
        return Refusal(500, "internal_error", "internal error")
    return refusal
