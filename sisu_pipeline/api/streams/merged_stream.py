"""Everything that a browser follows in one stream: it has few connections for one site, all tabs together."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from typing import Literal

from fastapi.concurrency import run_in_threadpool

from sisu_pipeline.api.http.error_responses import is_unreachable
from sisu_pipeline.api.http.json_response import HEARTBEAT, event
from sisu_pipeline.api.http.query_parameters import EventsQuery
from sisu_pipeline.api.schemas.run_schemas import RunProgress
from sisu_pipeline.api.state.app_state import AppState
from sisu_pipeline.api.streams.change_streams import inbox_changes, restart, run_changes, run_progress
from sisu_pipeline.api.streams.output_stream import pieces
from sisu_pipeline.contracts.base import Contract
from sisu_pipeline.domain.errors import NotFound


class EndOfEvents(Contract):
    """No further event of this kind follows: the run has ended, was executed again or does not exist."""

    kind: Literal["run", "output", "restart"]
    """Name of the events that have ended."""
    run_id: str
    """Id of the run."""


class Alive(Contract):
    """The stream is alive. A page sees a named event, unlike a comment."""


RunEvents = Callable[[AppState, RunProgress], AsyncGenerator[str]]
_ALIVE = event("alive", "{}")


async def merged(state: AppState, wanted: EventsQuery) -> AsyncGenerator[str]:
    """The events of all parts that are wanted, each in its own order; ends when every part has ended."""
    arrived: asyncio.Queue[str | Exception | None] = asyncio.Queue(1)
    parts = [asyncio.create_task(_forward(part, arrived)) for part in _parts(state, wanted)]
    try:
        yield _ALIVE
        unfinished = len(parts)
        while unfinished:
            each = await arrived.get()
            if each is None:
                unfinished -= 1
            elif isinstance(each, Exception):
                if is_unreachable(each):
                    return  # clients connect again
                raise each
            else:
                yield _ALIVE if each == HEARTBEAT else each
    finally:
        for part in parts:
            part.cancel()
        await asyncio.gather(*parts, return_exceptions=True)


def _parts(state: AppState, wanted: EventsQuery) -> Iterator[AsyncGenerator[str]]:
    if wanted.follows_inbox:
        yield _inbox(state)
    for run_id in wanted.run_ids:
        yield _ended(state, _run(state, run_id, run_changes), EndOfEvents(kind="run", run_id=run_id))
    for run_id in wanted.output_ids:
        yield _ended(state, pieces(state, run_id, 0), EndOfEvents(kind="output", run_id=run_id))
    for run_id in wanted.restart_ids:
        yield _ended(state, _run(state, run_id, restart), EndOfEvents(kind="restart", run_id=run_id))


async def _inbox(state: AppState) -> AsyncGenerator[str]:
    async with aclosing(inbox_changes(state, await state.inbox.submit(None))) as events:
        async for each in events:
            yield each


async def _run(state: AppState, run_id: str, events_of: RunEvents) -> AsyncGenerator[str]:
    try:
        first = await run_in_threadpool(run_progress, state, run_id)
    except NotFound:
        return
    async with aclosing(events_of(state, first)) as events:
        async for each in events:
            yield each


async def _ended(state: AppState, part: AsyncGenerator[str], end: EndOfEvents) -> AsyncGenerator[str]:
    """The events of a part, and its end; without the end when the process stops, so that clients connect again."""
    async with aclosing(part):
        async for each in part:
            yield each
    if not state.feed.is_closed:
        yield event("end", end.model_dump_json(by_alias=True))


async def _forward(part: AsyncGenerator[str], arrived: asyncio.Queue[str | Exception | None]) -> None:
    try:
        async with aclosing(part):
            async for each in part:
                await arrived.put(each)
        await arrived.put(None)
    except Exception as failure:
        await arrived.put(failure)
