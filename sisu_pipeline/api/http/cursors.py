"""Cursors of lists: the position of the last entry of a page, as text that clients return unread."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import NoReturn

from sisu_pipeline.api.http.error_responses import Refusal
from sisu_pipeline.api.schemas.problem_schemas import Detail
from sisu_pipeline.contracts.base import Contract
from sisu_pipeline.store.review.open_gates import GatePosition
from sisu_pipeline.store.review.run_events import EventPosition


class _GateCursor(Contract):
    """The members of a cursor; times in ISO 8601."""

    due: str | None
    opened: str
    run: str
    gate: str


class _EventCursor(Contract):
    """The members of a cursor in the history; the time in ISO 8601."""

    at: str
    run: str
    event: str
    person: str


def gate_cursor(position: GatePosition) -> str:
    """The cursor after a gate."""
    due = None if position.due_at is None else position.due_at.isoformat()
    return _encoded(
        _GateCursor(due=due, opened=position.created_at.isoformat(), run=position.run_id, gate=position.gate_key)
    )


def gate_position(cursor: str | None) -> GatePosition | None:
    """The position that a cursor names; None without one. Raises Refusal 400 for any other text."""
    if cursor is None:
        return None
    try:
        read = _GateCursor.from_json(_decoded(cursor))
        due = None if read.due is None else _time(read.due)
        return GatePosition(due, _time(read.opened), _text(read.run), _text(read.gate))
    except ValueError:
        _refuse()


def event_cursor(position: EventPosition) -> str:
    """The cursor after a change of a run."""
    return _encoded(
        _EventCursor(at=position.at.isoformat(), run=position.run_id, event=position.event, person=position.person)
    )


def event_position(cursor: str | None) -> EventPosition | None:
    """The position that a cursor names; None without one. Raises Refusal 400 for any other text."""
    if cursor is None:
        return None
    try:
        read = _EventCursor.from_json(_decoded(cursor))
        return EventPosition(_time(read.at), _text(read.run), _text(read.event), _text(read.person))
    except ValueError:
        _refuse()


def _refuse() -> NoReturn:
    message = "use the nextCursor of the page before, unchanged"
    raise Refusal(400, "invalid_query", f"invalid cursor: {message}", [Detail(pointer="/cursor", message=message)])


def _encoded(cursor: Contract) -> str:
    return urlsafe_b64encode(cursor.model_dump_json().encode()).decode().rstrip("=")


def _decoded(cursor: str) -> object:
    try:
        return json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except RecursionError:
        raise ValueError("nested too deep") from None


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("a cursor's times have a time zone")
    return time


def _text(text: str) -> str:
    text.encode()  # Postgres stores neither half a surrogate pair nor NUL
    if "\0" in text:
        raise ValueError("a cursor has no NUL")
    return text
