"""The history of all runs: page by page, and as a file."""

import csv
import io
from collections.abc import Iterator

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from sisu_pipeline.api.auth.guarded_route import GuardedRoute
from sisu_pipeline.api.http.cursors import event_position
from sisu_pipeline.api.http.error_responses import documented
from sisu_pipeline.api.http.json_response import reply
from sisu_pipeline.api.http.openapi import query_parameters
from sisu_pipeline.api.http.query_parameters import (
    ExportQuery,
    ExportQueryParameters,
    HistoryFilter,
    HistoryQuery,
    HistoryQueryParameters,
)
from sisu_pipeline.api.schemas.review_schemas import RunChange, RunChanges
from sisu_pipeline.api.state.app_state import AppState, AppStateOf
from sisu_pipeline.api.views import review_views
from sisu_pipeline.domain.identity import run_id_of
from sisu_pipeline.store.review.run_events import EventFilter

router = APIRouter(route_class=GuardedRoute, tags=["runs"])

_PAGE = 500
_COLUMNS = (
    *("at", "event", "person", "channel", "reason", "planSha256"),
    *("runId", "workflowId", "goal", "tenantId"),
)
# A spreadsheet computes a cell that begins so.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@router.get(
    "/history",
    response_model=RunChanges,
    responses=documented(400),
    openapi_extra=query_parameters(HistoryQuery),
)
def list_history(wanted: HistoryQueryParameters, state: AppStateOf) -> Response:
    """Who did what to which run, when, why and by which channel, the newest change first."""
    after = event_position(wanted.cursor)
    with state.pool.snapshot() as connection:
        return reply(review_views.history(connection, _filter(wanted), wanted.limit, after))


@router.get(
    "/history/export",
    response_class=Response,
    responses={
        200: {
            "description": "All changes that match, the newest first.",
            "content": {
                "text/csv": {"schema": {"type": "string"}},
                "application/json": {"schema": {"type": "array", "items": {"type": "object"}}},
            },
        },
        **documented(400),
    },
    openapi_extra=query_parameters(ExportQuery),
)
def export_history(wanted: ExportQueryParameters, state: AppStateOf) -> Response:
    """All changes that match, the newest first, as a CSV or JSON file.

    In CSV, a text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    # The first page is read before the answer begins, so that a failure is an error response.
    pages = _pages(state, _filter(wanted))
    first = next(pages)
    as_csv = wanted.format == "csv"
    return StreamingResponse(
        (_csv_lines if as_csv else _json_parts)(first, pages),
        media_type="text/csv; charset=utf-8" if as_csv else "application/json",
        headers={"Content-Disposition": f'attachment; filename="history.{wanted.format}"'},
    )


def _filter(wanted: HistoryFilter) -> EventFilter:
    return EventFilter(
        search=wanted.search,
        run_id=None if wanted.run is None else run_id_of(wanted.run),
        person=wanted.person,
        event=wanted.event,
        tenant=wanted.tenant,
        since=wanted.since,
        until=wanted.until,
    )


def _pages(state: AppState, wanted: EventFilter) -> Iterator[list[RunChange]]:
    """Every page that matches, at least one. A slow client holds no connection between two pages."""
    cursor: str | None = None
    while True:
        after = event_position(cursor)
        with state.pool.snapshot() as connection:
            page = review_views.history(connection, wanted, _PAGE, after)
        yield page.events
        cursor = page.next_cursor
        if cursor is None:
            return


def _csv_lines(first: list[RunChange], rest: Iterator[list[RunChange]]) -> Iterator[str]:
    yield _line(_COLUMNS)
    yield from (_line(_cells(event)) for event in first)
    for page in rest:
        yield "".join(_line(_cells(event)) for event in page)


def _line(cells: tuple[str, ...]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()


def _cells(event: RunChange) -> tuple[str, ...]:
    members = event.model_dump(mode="json", by_alias=True)
    return tuple(_cell(members[name]) for name in _COLUMNS)


def _cell(value: str | None) -> str:
    text = "" if value is None else value
    return f"'{text}" if text.startswith(_FORMULA) else text


def _json_parts(first: list[RunChange], rest: Iterator[list[RunChange]]) -> Iterator[str]:
    yield "["
    yield ",".join(event.model_dump_json(by_alias=True) for event in first)
    for page in rest:
        yield "".join(f",{event.model_dump_json(by_alias=True)}" for event in page)
    yield "]\n"
