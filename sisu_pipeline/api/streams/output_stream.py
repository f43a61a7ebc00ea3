"""Live output of a run's tasks as server-sent events."""

from collections.abc import AsyncGenerator

from anyio import move_on_after
from fastapi.concurrency import run_in_threadpool

from sisu_pipeline.api.http.error_responses import is_unreachable
from sisu_pipeline.api.http.json_response import HEARTBEAT, event
from sisu_pipeline.api.state.app_state import AppState
from sisu_pipeline.api.views import run_views
from sisu_pipeline.contracts.base import Contract
from sisu_pipeline.domain.errors import NotFound
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store.outputs import task_output
from sisu_pipeline.store.outputs.task_output import Piece


class TaskOutput(Contract):
    """A piece of the output of a running task. The complete output is in the task's artifacts."""

    run_id: str
    """Id of the run."""
    task_key: str
    """Key of the task."""
    position: int
    """Position of the task among the tasks of the run."""
    kind: str
    """Stream of the piece: `stdout` or `stderr`."""
    chunk: str
    """Text of the piece."""


async def pieces(state: AppState, run_id: str, seen: int) -> AsyncGenerator[str]:
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
    output = TaskOutput(
        run_id=piece.run_id,
        task_key=piece.task_key,
        position=piece.position,
        kind=piece.kind,
        chunk=piece.chunk,
    )
    return event("output", output.model_dump_json(by_alias=True), piece.id)
