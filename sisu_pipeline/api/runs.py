"""Look at runs."""

from fastapi import APIRouter, Response

from sisu_pipeline.api import views
from sisu_pipeline.api.contracts import RunPage, RunView
from sisu_pipeline.api.door import Door
from sisu_pipeline.api.errors import documented
from sisu_pipeline.api.openapi import query_parameters
from sisu_pipeline.api.query import PlainRequest, RunsQuery, RunsQueryParameters
from sisu_pipeline.api.reply import reply
from sisu_pipeline.api.rooms import RoomsOf

router = APIRouter(route_class=Door, tags=["runs"])


@router.get(
    "/runs",
    response_model=RunPage,
    responses=documented(400, 404),
    openapi_extra=query_parameters(RunsQuery),
)
def list_runs(wanted: RunsQueryParameters, rooms: RoomsOf) -> Response:
    """The newest runs first, `limit` at most, older than the run `before`, in the given status."""
    with rooms.pool.snapshot() as connection:
        return reply(views.run_page(connection, wanted))


@router.get("/runs/{run_id}", response_model=RunView, responses=documented(400, 404), dependencies=[PlainRequest])
def show_run(run_id: str, rooms: RoomsOf) -> Response:
    """A run with its steps, artifacts, gate, decision and tasks; `run_id` is a run id or a workflow id."""
    with rooms.pool.snapshot() as connection:
        return reply(views.run_view(connection, run_id))
