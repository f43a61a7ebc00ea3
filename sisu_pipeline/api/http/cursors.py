"""Cursors of lists: the position of the last entry of a page, as text that clients return unread."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import NoReturn

from sisu_pipeline.api.http.error_responses import Refusal
from sisu_pipeline.api.schemas.problem_schemas import Detail
from sisu_pipeline.contracts.base import Contract, ContractInvalid
from sisu_pipeline.store.review.open_gates import GatePosition


class _GateCursor(Contract):
    """The members of a cursor; times in ISO 8601."""

    due: str | None
    opened: str
    run: str
    gate: str


def gate_cursor(position: GatePosition) -> str:
    """The cursor after a gate."""
    due = None if position.due_at is None else position.due_at.isoformat()
    cursor = _GateCursor(
        due=due, opened=position.created_at.isoformat(), run=position.run_id, gate=position.gate_key
    )
    return urlsafe_b64encode(cursor.model_dump_json().encode()).decode().rstrip("=")


def gate_position(cursor: str | None) -> GatePosition | None:
    """The position that a cursor names; None without one. Raises Refusal 400 for any other text."""
    if cursor is None:
        return None
    try:
        read = _GateCursor.from_json(_decoded(cursor))
        due = None if read.due is None else _time(read.due)
        return GatePosition(due, _time(read.opened), read.run, read.gate)
    except (ContractInvalid, ValueError):
        refuse_cursor()


def refuse_cursor() -> NoReturn:
    """Raise the Refusal 400 for a text that is no cursor."""
    message = "use the nextCursor of the page before, unchanged"
    raise Refusal(400, "invalid_query", f"invalid cursor: {message}", [Detail(pointer="/cursor", message=message)])


def _decoded(cursor: str) -> object:
    return json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("a cursor's times have a time zone")
    return time
