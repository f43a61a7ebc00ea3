"""Health, readiness and queue depth, for operators."""

from fastapi import APIRouter, Response

from sisu_pipeline.api.auth.guarded_route import GuardedRoute
from sisu_pipeline.api.http.error_responses import Refusal, documented
from sisu_pipeline.api.http.json_response import reply
from sisu_pipeline.api.http.query_parameters import PlainRequest
from sisu_pipeline.api.schemas.deployment_schemas import Health, QueueDepth
from sisu_pipeline.api.state.app_state import AppStateOf
from sisu_pipeline.api.views import run_views

router = APIRouter(route_class=GuardedRoute, dependencies=[PlainRequest], tags=["ops"])


@router.get("/healthz", response_model=Health, responses=documented(400))
async def healthz() -> Response:
    """The process answers, even while every thread waits for the database."""
    return reply(Health())


@router.get("/readyz", response_model=Health, responses=documented(400))
async def readyz(state: AppStateOf) -> Response:
    """The process answers, and its database answers within 3 s and can be written to; otherwise 503."""
    if not await state.readiness.is_ready():
        raise Refusal(
            503, "database_unavailable", "the database does not answer, or cannot be written to: try again"
        )
    return reply(Health())


@router.get("/ops/queue-depth", response_model=QueueDepth, responses=documented(400))
def queue_depth(state: AppStateOf) -> Response:
    """What waits on the queues, by state of the run, and by application version."""
    with state.pool.snapshot() as connection:
        return reply(run_views.queue_depth(connection))
