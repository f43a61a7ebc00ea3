"""Operations on a run: cancel and retry."""

from fastapi import APIRouter, Response

from sisu_pipeline.api.auth.authentication import CallerOf
from sisu_pipeline.api.auth.guarded_route import GuardedRoute
from sisu_pipeline.api.http.error_responses import documented
from sisu_pipeline.api.http.json_response import reply
from sisu_pipeline.api.http.openapi import request_body
from sisu_pipeline.api.http.path_parameters import RunReference
from sisu_pipeline.api.http.query_parameters import PlainRequest
from sisu_pipeline.api.http.request_body import FormBody, parse
from sisu_pipeline.api.http.request_channel import ChannelOf
from sisu_pipeline.api.schemas.run_schemas import Operated
from sisu_pipeline.api.state.app_state import AppStateOf
from sisu_pipeline.contracts.operation import OperationRequest
from sisu_pipeline.workflow import commands

router = APIRouter(route_class=GuardedRoute, dependencies=[PlainRequest], tags=["runs"])


@router.post(
    "/runs/{run_id}/cancel",
    status_code=202,
    response_model=Operated,
    responses=documented(400, 404, 409, 413),
    openapi_extra=request_body(OperationRequest, required=False),
)
def cancel(
    run_id: RunReference, raw: FormBody, caller: CallerOf, channel: ChannelOf, state: AppStateOf
) -> Response:
    """Cancel the run: running tasks are stopped and patches rolled back. Idempotent."""
    request = parse(raw, OperationRequest)
    with state.pool.connect() as connection:
        run = commands.cancel(connection, run_id, request, caller.name, channel)
    return reply(Operated(run_id=run.id, status=run.status, retry_count=run.retry_count), 202)


@router.post(
    "/runs/{run_id}/retry",
    status_code=202,
    response_model=Operated,
    responses=documented(400, 404, 409, 413),
    openapi_extra=request_body(OperationRequest, required=False),
)
def retry(run_id: RunReference, raw: FormBody, caller: CallerOf, channel: ChannelOf, state: AppStateOf) -> Response:
    """Retry a failed run from its first step without a successful result; completed work is not repeated.

    A gate whose deadline passed with a rejection or without an answer is opened again.
    """
    request = parse(raw, OperationRequest)
    with state.pool.connect() as connection:
        run = commands.retry(connection, run_id, request, caller.name, channel)
    return reply(Operated(run_id=run.id, status=run.status, retry_count=run.retry_count), 202)
