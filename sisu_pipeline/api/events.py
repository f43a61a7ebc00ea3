"""A run's changes as server-sent events (WHATWG HTML §9.2)."""

import time
from collections.abc import AsyncIterator

from anyio import move_on_after
from fastapi import APIRouter, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from sisu_pipeline.api import views
from sisu_pipeline.api.contracts import RunProgress
from sisu_pipeline.api.errors import Door, documented, is_unreachable
from sisu_pipeline.api.openapi import event_schema
from sisu_pipeline.api.query import PlainRequest
from sisu_pipeline.api.rooms import Rooms, RoomsOf
from sisu_pipeline.status import RunStatus

EVENT_STREAM = "text/event-stream"
HEARTBEAT = ": heartbeat\n\n"
# Tasks finish without being announced one by one: while they run, their count is read again.
_PROGRESS_S = 1.0

router = APIRouter(route_class=Door, dependencies=[PlainRequest], tags=["runs"])


@router.get(
    "/runs/{run_id}/events",
    response_class=Response,
    responses={
        200: {
            "description": "Events `run`, each with the run's progress as its data; ends with a terminal status.",
            "content": {EVENT_STREAM: {"schema": event_schema(RunProgress, "run")}},
        },
        **documented(400, 404),
    },
)
def watch_run(run_id: str, rooms: RoomsOf) -> Response:
    """The run's state at once, then an event per change, a comment every 15 s; ends when the run has ended."""
    first = _read(rooms, run_id)
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(changes(rooms, first), headers=headers, media_type=EVENT_STREAM)


async def changes(rooms: Rooms, first: RunProgress) -> AsyncIterator[str]:
    """The events of one run from its state `first`; no thread and no connection is held between them."""
    with rooms.feed.watch(first.run_id) as changed:
        yield _event(first)
        # The first reading is from before the watch: look again.
        latest, spoke_at = first, time.monotonic()
        changed.set()
        while not (latest.status.is_terminal or rooms.feed.is_closed):
            silence = rooms.heartbeat_s - (time.monotonic() - spoke_at)
            with move_on_after(min(silence, _PROGRESS_S if latest.status is RunStatus.RUNNING else silence)):
                await changed.wait()
            changed.clear()
            current = await _read_again(rooms, latest)
            if current != latest:
                yield _event(current)
                latest, spoke_at = current, time.monotonic()
            elif time.monotonic() - spoke_at >= rooms.heartbeat_s:
                yield HEARTBEAT
                spoke_at = time.monotonic()


async def _read_again(rooms: Rooms, latest: RunProgress) -> RunProgress:
    try:
        return await run_in_threadpool(_read, rooms, latest.run_id)
    except Exception as failure:
        if not is_unreachable(failure):
            raise
        # The stream outlives a restart of Postgres: the feed wakes it when it is back.
        return latest


def _read(rooms: Rooms, identifier: str) -> RunProgress:
    with rooms.pool.snapshot() as connection:
        return views.run_progress(connection, identifier)


def _event(state: RunProgress) -> str:
    return f"event: run\ndata: {state.model_dump_json(by_alias=True)}\n\n"
