"""Decide about a plan."""

from fastapi import APIRouter, Response

from sisu_pipeline import commands
from sisu_pipeline.api.body import RawBody, parse
from sisu_pipeline.api.contracts import Approved, Rejected
from sisu_pipeline.api.errors import Door, documented
from sisu_pipeline.api.openapi import request_body
from sisu_pipeline.api.query import PlainRequest
from sisu_pipeline.api.reply import reply
from sisu_pipeline.api.rooms import RoomsOf
from sisu_pipeline.contracts.gate import PlanApprovalRequest, PlanRejectionRequest

router = APIRouter(route_class=Door, dependencies=[PlainRequest], tags=["gates"])


@router.post(
    "/runs/{run_id}/approve-plan",
    status_code=202,
    response_model=Approved,
    responses=documented(400, 404, 409, 413),
    openapi_extra=request_body(PlanApprovalRequest, required=True),
)
def approve_plan(run_id: str, raw: RawBody, rooms: RoomsOf) -> Response:
    """Approve the plan, before or after its gate opens; the first decision stands."""
    request = parse(raw, PlanApprovalRequest)
    with rooms.pool.connect() as connection:
        decided = commands.decide(connection, run_id, request)
    return reply(Approved(run_id=decided.run_id, approved_at=decided.decided_at), 202)


@router.post(
    "/runs/{run_id}/reject-plan",
    status_code=202,
    response_model=Rejected,
    responses=documented(400, 404, 409, 413),
    openapi_extra=request_body(PlanRejectionRequest, required=True),
)
def reject_plan(run_id: str, raw: RawBody, rooms: RoomsOf) -> Response:
    """Reject the plan with a reason: its patches are taken back and the run ends."""
    request = parse(raw, PlanRejectionRequest)
    with rooms.pool.connect() as connection:
        decided = commands.decide(connection, run_id, request)
    return reply(Rejected(run_id=decided.run_id, rejected_at=decided.decided_at), 202)
