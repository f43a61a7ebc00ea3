"""The tasks of a run: their results, and their outputs as one text."""

from collections.abc import Iterator

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from sisu_pipeline.api.auth.guarded_route import GuardedRoute
from sisu_pipeline.api.http.error_responses import documented
from sisu_pipeline.api.http.json_response import reply
from sisu_pipeline.api.http.openapi import query_parameters
from sisu_pipeline.api.http.path_parameters import RunReference
from sisu_pipeline.api.http.query_parameters import LogsQuery, LogsQueryParameters, TasksQuery, TasksQueryParameters
from sisu_pipeline.api.schemas.task_schemas import TaskPage
from sisu_pipeline.api.state.app_state import AppState, AppStateOf
from sisu_pipeline.api.views import task_views
from sisu_pipeline.domain.errors import NotFound
from sisu_pipeline.domain.identity import checked_reference
from sisu_pipeline.store import runs

TEXT = "text/plain; charset=utf-8"
# Outputs are untrusted: a browser must neither guess their type nor execute them.
_HEADERS = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox"}

router = APIRouter(route_class=GuardedRoute, tags=["results"])


@router.get(
    "/runs/{run_id}/tasks",
    response_model=TaskPage,
    responses=documented(400, 404),
    openapi_extra=query_parameters(TasksQuery),
)
def list_tasks(run_id: RunReference, wanted: TasksQueryParameters, state: AppStateOf) -> Response:
    """The tasks of a run that have ended: test, command, result, exit code, duration and ends of the outputs."""
    is_failed = None if wanted.result is None else wanted.result == "failed"
    with state.pool.snapshot() as connection:
        return reply(
            task_views.task_page(connection, run_id, after=wanted.after, limit=wanted.limit, is_failed=is_failed)
        )


@router.get(
    "/runs/{run_id}/logs",
    response_class=Response,
    responses={
        200: {
            "description": "The outputs, each under a heading with position, test, result, exit code and duration.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
        **documented(400, 404),
    },
    openapi_extra=query_parameters(LogsQuery),
)
def show_logs(run_id: RunReference, wanted: LogsQueryParameters, state: AppStateOf) -> Response:
    """The complete outputs of the tasks of a run that have ended, as one text."""
    with state.pool.snapshot() as connection:
        run = runs.get(connection, checked_reference(run_id))
        tests = task_views.tests_of(connection, run.id)
        first = task_views.log(connection, run.id, tests, wanted.task or 0)
    if wanted.task is not None and (first is None or first[0] != wanted.task):
        raise NotFound(f"the run has no task {wanted.task} that has ended")
    headers = {**_HEADERS, "Content-Disposition": f'attachment; filename="{run.id}.log"'}
    return StreamingResponse(_logs(state, run.id, tests, wanted.task), headers=headers, media_type=TEXT)


def _logs(state: AppState, run_id: str, tests: dict[int, str | None], only: int | None) -> Iterator[str]:
    """One task at a time, so that the outputs of thousands need no memory."""
    position = only or 0
    while True:
        with state.pool.snapshot() as connection:
            found = task_views.log(connection, run_id, tests, position)
        if found is None:
            return
        yield found[1]
        if only is not None:
            return
        position = found[0] + 1
