"""Changes of a run and of the inbox as server-sent events."""

import time
from collections.abc import AsyncGenerator

from anyio import move_on_after, sleep
from fastapi.concurrency import run_in_threadpool

from sisu_pipeline.api.http.error_responses import is_unreachable
from sisu_pipeline.api.http.json_response import HEARTBEAT, event
from sisu_pipeline.api.schemas.run_schemas import RunProgress
from sisu_pipeline.api.state.app_state import AppState
from sisu_pipeline.api.state.change_feed import EVERY_RUN
from sisu_pipeline.api.state.inbox_reading import InboxReading
from sisu_pipeline.api.views import run_views
from sisu_pipeline.domain.errors import NotFound
from sisu_pipeline.domain.status import RunStatus

# The id of a run's last event. A browser sends it when it connects again, which a 204 tells it not to do.
LAST_EVENT = 0
# Tasks finish without being announced one by one: while they run, their count is read again.
_PROGRESS_S = 1.0
_INBOX_PAUSE_S = 0.5


def run_progress(state: AppState, run_reference: str) -> RunProgress:
    """The progress of a run now. Raises NotFound."""
    with state.pool.snapshot() as connection:
        return run_views.run_progress(connection, run_reference, state.dependencies.start_limit)


async def inbox_changes(state: AppState, first: InboxReading) -> AsyncGenerator[str]:
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


async def run_changes(state: AppState, first: RunProgress) -> AsyncGenerator[str]:
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


async def restart(state: AppState, first: RunProgress) -> AsyncGenerator[str]:
    """One event `restart` when an ended run is executed again; at once for a run that has not ended."""
    with state.feed.watch(first.run_id) as changed:
        current = first
        changed.set()
        while current.status.is_terminal and not state.feed.is_closed:
            with move_on_after(state.heartbeat_s) as silence:
                await changed.wait()
            changed.clear()
            if silence.cancelled_caught:
                yield HEARTBEAT
            try:
                current = await _read_again(state, current)
            except NotFound:
                return  # the database was reset
        if not current.status.is_terminal:
            yield event("restart", current.model_dump_json(by_alias=True))


async def _read_again(state: AppState, latest: RunProgress) -> RunProgress:
    try:
        return await run_in_threadpool(run_progress, state, latest.run_id)
    except Exception as failure:
        if not is_unreachable(failure):
            raise
        # The stream outlives a restart of Postgres: the feed wakes it when it is back.
        return latest


async def _read_inbox_again(state: AppState, latest: InboxReading) -> InboxReading:
    try:
        return await state.inbox.submit(None)
    except Exception as failure:
        if not is_unreachable(failure):
            raise
        return latest


def _event(state: RunProgress) -> str:
    last = LAST_EVENT if state.status.is_terminal else None
    return event("run", state.model_dump_json(by_alias=True), last)
