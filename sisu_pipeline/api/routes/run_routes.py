"""Runs: list them, read one."""

from fastapi import APIRouter, Response

from sisu_pipeline.api.auth.guarded_route import GuardedRoute
from sisu_pipeline.api.http.error_responses import documented
from sisu_pipeline.api.http.json_response import reply
from sisu_pipeline.api.http.openapi import query_parameters
from sisu_pipeline.api.http.path_parameters import RunReference
from sisu_pipeline.api.http.query_parameters import PlainRequest, RunsQuery, RunsQueryParameters
from sisu_pipeline.api.schemas.planning_schemas import RunView
from sisu_pipeline.api.schemas.run_schemas import RunPage
from sisu_pipeline.api.state.app_state import AppStateOf
from sisu_pipeline.api.views import run_views

router = APIRouter(route_class=GuardedRoute, tags=["runs"])


@router.get(
    "/runs",
    response_model=RunPage,
    responses=documented(400, 404),
    openapi_extra=query_parameters(RunsQuery),
)
def list_runs(wanted: RunsQueryParameters, state: AppStateOf) -> Response:
    """The newest runs first, `limit` at most, older than the run `before`, in the given status."""
    with state.pool.snapshot() as connection:
        return reply(run_views.run_page(connection, wanted))


@router.get("/runs/{run_id}", response_model=RunView, responses=documented(400, 404), dependencies=[PlainRequest])
def show_run(run_id: RunReference, state: AppStateOf) -> Response:
    """A run with its steps, artifacts, gate, decision and tasks; `run_id` is a run id or a workflow id."""
    with state.pool.snapshot() as connection:
        return reply(run_views.run_view(connection, run_id, state.dependencies.start_limit))
