"""Operate on a run: end it, or try it again."""

from fastapi import APIRouter, Response

from sisu_pipeline.api.auth.authentication import CallerOf, needs
from sisu_pipeline.api.auth.guarded_route import Door
from sisu_pipeline.api.http.error_responses import documented
from sisu_pipeline.api.http.json_response import reply
from sisu_pipeline.api.http.openapi import request_body
from sisu_pipeline.api.http.query_parameters import PlainRequest
from sisu_pipeline.api.http.request_body import FormBody, parse
from sisu_pipeline.api.schemas.run_schemas import Operated
from sisu_pipeline.api.state.app_state import RoomsOf
from sisu_pipeline.contracts.access import Role
from sisu_pipeline.contracts.operation import OperationRequest
from sisu_pipeline.workflow import commands

router = APIRouter(route_class=Door, dependencies=[PlainRequest], tags=["runs"])


@router.post(
    "/runs/{run_id}/cancel",
    status_code=202,
    response_model=Operated,
    responses=documented(400, 404, 409, 413),
    openapi_extra=request_body(OperationRequest, required=False),
)
@needs(Role.OPERATOR)
def cancel(run_id: str, raw: FormBody, caller: CallerOf, rooms: RoomsOf) -> Response:
    """End the run now: what runs is stopped, what was patched is taken back. Again is the same answer."""
    request = parse(raw, OperationRequest)
    with rooms.pool.connect() as connection:
        run = commands.cancel(connection, run_id, request, caller.name)
    return reply(Operated(run_id=run.id, status=run.status, retry_count=run.retry_count), 202)


@router.post(
    "/runs/{run_id}/retry",
    status_code=202,
    response_model=Operated,
    responses=documented(400, 404, 409, 413),
    openapi_extra=request_body(OperationRequest, required=False),
)
@needs(Role.OPERATOR)
def retry(run_id: str, raw: FormBody, caller: CallerOf, rooms: RoomsOf) -> Response:
    """Try a failed run again from its first step without a good result; what succeeded is not done again."""
    request = parse(raw, OperationRequest)
    with rooms.pool.connect() as connection:
        run = commands.retry(connection, run_id, request)
    return reply(Operated(run_id=run.id, status=run.status, retry_count=run.retry_count), 202)
