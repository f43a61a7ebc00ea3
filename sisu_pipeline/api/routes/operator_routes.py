"""Health, readiness, queue depth and versions, for operators."""

from dataclasses import asdict

from fastapi import APIRouter, Response

from sisu_pipeline.api.auth.authentication import CallerOf
from sisu_pipeline.api.auth.guarded_route import GuardedRoute
from sisu_pipeline.api.http.error_responses import Refusal, documented
from sisu_pipeline.api.http.json_response import reply
from sisu_pipeline.api.http.openapi import request_body
from sisu_pipeline.api.http.query_parameters import PlainRequest
from sisu_pipeline.api.http.request_body import FormBody, parse
from sisu_pipeline.api.http.request_channel import ChannelOf
from sisu_pipeline.api.schemas.deployment_schemas import Adopted, Health, QueueDepth, Versions, VersionView
from sisu_pipeline.api.state.app_state import AppStateOf
from sisu_pipeline.api.views import run_views
from sisu_pipeline.contracts.operation import VersionAdoption
from sisu_pipeline.store.queues import versions

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


@router.get("/ops/versions", response_model=Versions, responses=documented(400))
def list_versions(state: AppStateOf) -> Response:
    """The versions that have unfinished runs, queued work, workers or a successor."""
    with state.pool.snapshot() as connection:
        found = versions.states(connection)
    return reply(Versions(versions=[VersionView(**asdict(each)) for each in found]))


@router.post(
    "/ops/version-adoptions",
    status_code=201,
    response_model=Adopted,
    responses={
        200: {"model": Adopted, "description": "It was declared before."},
        **documented(400, 409, 413),
    },
    openapi_extra=request_body(VersionAdoption, required=True),
)
def adopt_version(raw: FormBody, caller: CallerOf, channel: ChannelOf, state: AppStateOf) -> Response:
    """Declare that workers of the new version finish the work of the old one. A declaration is final."""
    request = parse(raw, VersionAdoption)
    with state.pool.connect() as connection:
        made = versions.adopt(connection, request, caller.name or request.actor, channel)
    adopted = Adopted(**asdict(made.adoption), is_replay=made.is_replay, handed_over=made.handed_over)
    return reply(adopted, 200 if made.is_replay else 201)
