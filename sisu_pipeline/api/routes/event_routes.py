"""Streams of server-sent events (WHATWG HTML, section 9.2): runs, the inbox, output, and all of them in one."""

import re

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from sisu_pipeline.api.auth.guarded_route import GuardedRoute
from sisu_pipeline.api.http.error_responses import documented
from sisu_pipeline.api.http.openapi import event_schema, query_parameters
from sisu_pipeline.api.http.path_parameters import RunReference
from sisu_pipeline.api.http.query_parameters import EventsQuery, EventsQueryParameters, PlainRequest
from sisu_pipeline.api.schemas.gate_schemas import Inbox
from sisu_pipeline.api.schemas.run_schemas import RunProgress
from sisu_pipeline.api.state.app_state import AppStateOf
from sisu_pipeline.api.streams.change_streams import LAST_EVENT, inbox_changes, run_changes, run_progress
from sisu_pipeline.api.streams.merged_stream import Alive, EndOfEvents, merged
from sisu_pipeline.api.streams.output_stream import TaskOutput, pieces
from sisu_pipeline.api.views import run_views
from sisu_pipeline.store.outputs import task_output

EVENT_STREAM = "text/event-stream"
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}

router = APIRouter(route_class=GuardedRoute, tags=["runs"])


@router.get(
    "/runs/{run_id}/events",
    response_class=Response,
    responses={
        200: {
            "description": "Events `run`, each with the run's progress as its data; ends with a terminal status.",
            "content": {EVENT_STREAM: {"schema": event_schema(RunProgress, "run")}},
        },
        204: {"description": "The run has ended, and `Last-Event-ID` names its last event: do not connect again."},
        **documented(400, 404),
    },
    dependencies=[PlainRequest],
)
def watch_run(run_id: RunReference, request: Request, state: AppStateOf) -> Response:
    """Send the run's state at once, then an event per change and a comment every 15 s; ends with the run."""
    first = run_progress(state, run_id)
    if first.status.is_terminal and request.headers.get("last-event-id") == str(LAST_EVENT):
        return Response(status_code=204)
    return StreamingResponse(run_changes(state, first), headers=_HEADERS, media_type=EVENT_STREAM)


@router.get(
    "/inbox/events",
    response_class=Response,
    responses={
        200: {
            "description": "Events `inbox`, each with the whole inbox as its data; the stream does not end.",
            "content": {EVENT_STREAM: {"schema": event_schema(Inbox, "inbox")}},
        },
        **documented(400),
    },
    dependencies=[PlainRequest],
)
async def watch_inbox(state: AppStateOf) -> Response:
    """Send the inbox at once, then at each change, at most twice a second; a comment every 15 s."""
    first = await state.inbox.submit(None)
    return StreamingResponse(inbox_changes(state, first), headers=_HEADERS, media_type=EVENT_STREAM)


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
    dependencies=[PlainRequest],
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


_MERGED = [
    event_schema(Inbox, "inbox"),
    event_schema(RunProgress, "run"),
    event_schema(TaskOutput, "output"),
    event_schema(RunProgress, "restart"),
    event_schema(EndOfEvents, "end"),
    event_schema(Alive, "alive"),
]


@router.get(
    "/events",
    response_class=Response,
    responses={
        200: {
            "description": "Events `inbox`, `run`, `output` and `restart` as they are wanted. An event `end` "
            "names events that have ended; the stream ends when all have. An event `alive` comes at least every "
            "15 s.",
            "content": {EVENT_STREAM: {"schema": {"oneOf": _MERGED}}},
        },
        **documented(400),
    },
    openapi_extra=query_parameters(EventsQuery),
)
async def watch_several(wanted: EventsQueryParameters, state: AppStateOf) -> Response:
    """Send several kinds of events in one stream, as a browser with many tabs needs it."""
    return StreamingResponse(merged(state, wanted), headers=_HEADERS, media_type=EVENT_STREAM)
