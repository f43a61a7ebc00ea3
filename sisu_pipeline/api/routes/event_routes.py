"""Changes of a run and of the inbox as server-sent events (WHATWG HTML §9.2)."""

import time
from collections.abc import AsyncIterator

from anyio import move_on_after, sleep
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from sisu_pipeline.api.auth.guarded_route import GuardedRoute
from sisu_pipeline.api.http.error_responses import documented, is_unreachable
from sisu_pipeline.api.http.json_response import event
from sisu_pipeline.api.http.openapi import event_schema
from sisu_pipeline.api.http.path_parameters import RunReference
from sisu_pipeline.api.http.query_parameters import PlainRequest
from sisu_pipeline.api.schemas.gate_schemas import Inbox
from sisu_pipeline.api.schemas.run_schemas import RunProgress
from sisu_pipeline.api.state.app_state import AppState, AppStateOf
from sisu_pipeline.api.state.change_feed import EVERY_RUN
from sisu_pipeline.api.state.inbox_reading import InboxReading
from sisu_pipeline.api.views import run_views
from sisu_pipeline.domain.errors import NotFound
from sisu_pipeline.domain.status import RunStatus

EVENT_STREAM = "text/event-stream"
HEARTBEAT = ": heartbeat\n\n"
# Tasks finish without being announced one by one: while they run, their count is read again.
_PROGRESS_S = 1.0
_INBOX_PAUSE_S = 0.5
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
# The id of a run's last event. A browser sends it when it connects again, which a 204 tells it not to do.
_LAST_EVENT = 0

router = APIRouter(route_class=GuardedRoute, dependencies=[PlainRequest], tags=["runs"])


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
)
def watch_run(run_id: RunReference, request: Request, state: AppStateOf) -> Response:
    """Send the run's state at once, then an event per change and a comment every 15 s; ends with the run."""
    first = _read(state, run_id)
    if first.status.is_terminal and request.headers.get("last-event-id") == str(_LAST_EVENT):
        return Response(status_code=204)
    return StreamingResponse(changes(state, first), headers=_HEADERS, media_type=EVENT_STREAM)


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
)
async def watch_inbox(state: AppStateOf) -> Response:
    """Send the inbox at once, then at each change, at most twice a second; a comment every 15 s."""
    first = await state.inbox.submit(None)
    return StreamingResponse(inbox_changes(state, first), headers=_HEADERS, media_type=EVENT_STREAM)


async def inbox_changes(state: AppState, first: InboxReading) -> AsyncIterator[str]:
    """The inbox's events from the reading `first`; no thread and no connection is held between them."""
    with state.feed.watch(EVERY_RUN) as changed:
        yield first.event
        latest, spoke_at = first, time.monotonic()
        changed.set()
        while not state.feed.is_closed:
            silence = state.heartbeat_s - (time.monotonic() - spoke_at)
            # Tasks of running intents finish without being announced.
            with move_on_after(min(silence, _PROGRESS_S) if latest.has_active else silence):
                await changed.wait()
            changed.clear()
            current = await _read_inbox_again(state, latest)
            if current.content != latest.content:
                yield current.event
                latest, spoke_at = current, time.monotonic()
            elif time.monotonic() - spoke_at >= state.heartbeat_s:
                yield HEARTBEAT
                spoke_at = time.monotonic()
            # All streams go on at the same moments, so that they share a reading.
            await sleep(_INBOX_PAUSE_S - time.monotonic() % _INBOX_PAUSE_S)


async def changes(state: AppState, first: RunProgress) -> AsyncIterator[str]:
    """The events of one run from its state `first`; no thread and no connection is held between them."""
    with state.feed.watch(first.run_id) as changed:
        yield _event(first)
        # The first reading is from before the watch: look again.
        latest, spoke_at = first, time.monotonic()
        changed.set()
        while not (latest.status.is_terminal or state.feed.is_closed):
            silence = state.heartbeat_s - (time.monotonic() - spoke_at)
            with move_on_after(min(silence, _PROGRESS_S if latest.status is RunStatus.RUNNING else silence)):
                await changed.wait()
            changed.clear()
            try:
                current = await _read_again(state, latest)
            except NotFound:
                return  # the database was reset
            if current != latest:
                yield _event(current)
                latest, spoke_at = current, time.monotonic()
            elif time.monotonic() - spoke_at >= state.heartbeat_s:
                yield HEARTBEAT
                spoke_at = time.monotonic()


async def _read_again(state: AppState, latest: RunProgress) -> RunProgress:
    try:
        return await run_in_threadpool(_read, state, latest.run_id)
    except Exception as failure:
        if not is_unreachable(failure):
            raise
        # The stream outlives a restart of Postgres: the feed wakes it when it is back.
        return latest


def _read(state: AppState, run_reference: str) -> RunProgress:
    with state.pool.snapshot() as connection:
        return run_views.run_progress(connection, run_reference, state.dependencies.start_limit)


async def _read_inbox_again(state: AppState, latest: InboxReading) -> InboxReading:
    try:
        return await state.inbox.submit(None)
    except Exception as failure:
        if not is_unreachable(failure):
            raise
        return latest


def _event(state: RunProgress) -> str:
    last = _LAST_EVENT if state.status.is_terminal else None
    return event("run", state.model_dump_json(by_alias=True), last)
