"""Live output of a run's tasks as server-sent events (WHATWG HTML, section 9.2)."""

import re
from collections.abc import AsyncIterator

from anyio import move_on_after
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from sisu_pipeline.api.auth.guarded_route import GuardedRoute
from sisu_pipeline.api.http.error_responses import documented, is_unreachable
from sisu_pipeline.api.http.json_response import event
from sisu_pipeline.api.http.openapi import event_schema
from sisu_pipeline.api.http.path_parameters import RunReference
from sisu_pipeline.api.http.query_parameters import PlainRequest
from sisu_pipeline.api.routes.event_routes import EVENT_STREAM, HEARTBEAT
from sisu_pipeline.api.state.app_state import AppState, AppStateOf
from sisu_pipeline.api.views import run_views
from sisu_pipeline.contracts.base import Contract
from sisu_pipeline.domain.errors import NotFound
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store.outputs import task_output
from sisu_pipeline.store.outputs.task_output import Piece

_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}

router = APIRouter(route_class=GuardedRoute, dependencies=[PlainRequest], tags=["runs"])


class TaskOutput(Contract):
    """A piece of the output of a running task. The complete output is in the task's artifacts."""

    task_key: str
    """Key of the task."""
    position: int
    """Position of the task among the tasks of the run."""
    kind: str
    """Stream of the piece: `stdout` or `stderr`."""
    chunk: str
    """Text of the piece."""


@router.get(
    "/runs/{run_id}/output",
    response_class=Response,
    responses={
        200: {
            "description": "Events `output`; `Last-Event-ID` resumes after an event; ends with the run.",
            "content": {EVENT_STREAM: {"schema": event_schema(TaskOutput, "output")}},
        },
        204: {"description": "The run has ended, and no output follows: do not connect again."},
        **documented(400, 404),
    },
)
def watch_output(run_id: RunReference, request: Request, state: AppStateOf) -> Response:
    """Stream the live output of the run's tasks, from the last minute on; ends with the run."""
    last = request.headers.get("last-event-id", "")
    seen = int(last) if re.fullmatch(r"[0-9]{1,18}", last) else 0
    with state.pool.snapshot() as connection:
        progress = run_views.run_progress(connection, run_id)
        if progress.status.is_terminal and not task_output.after(connection, progress.run_id, seen):
            return Response(status_code=204)
    return StreamingResponse(pieces(state, progress.run_id, seen), headers=_HEADERS, media_type=EVENT_STREAM)


async def pieces(state: AppState, run_id: str, seen: int) -> AsyncIterator[str]:
    """The output after piece `seen`; no thread and no connection is held between pieces."""
    with state.feed.watch(run_id) as changed:
        changed.set()
        while not state.feed.is_closed:
            with move_on_after(state.heartbeat_s):
                await changed.wait()
            silent = not changed.is_set()
            changed.clear()
            try:
                status, fresh = await _read(state, run_id, seen)
                while fresh:
                    yield "".join(map(_event, fresh))
                    seen = fresh[-1].id
                    status, fresh = await _read(state, run_id, seen)
            except NotFound:
                return  # the database was reset
            if status is not None and status.is_terminal:
                return
            if silent:
                yield HEARTBEAT


async def _read(state: AppState, run_id: str, seen: int) -> tuple[RunStatus | None, list[Piece]]:
    """The run's status and the next pieces; both are unknown while Postgres restarts, and the stream continues."""
    try:
        return await run_in_threadpool(_read_once, state, run_id, seen)
    except Exception as failure:
        if not is_unreachable(failure):
            raise
        return None, []


def _read_once(state: AppState, run_id: str, seen: int) -> tuple[RunStatus, list[Piece]]:
    with state.pool.snapshot() as connection:
        return run_views.run_progress(connection, run_id).status, task_output.after(connection, run_id, seen)


def _event(piece: Piece) -> str:
    output = TaskOutput(task_key=piece.task_key, position=piece.position, kind=piece.kind, chunk=piece.chunk)
    return event("output", output.model_dump_json(by_alias=True), piece.id)
