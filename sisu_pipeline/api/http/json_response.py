"""A contract as a response, or as a server-sent event."""

from collections.abc import Mapping

from fastapi import Response

from sisu_pipeline.contracts.base import Contract

HEARTBEAT = ": heartbeat\n\n"
"""A comment of a stream, which shows proxies that it is alive."""
# JSON leaves these line breaks in texts as they are, and clients that read lines of Unicode end a line there.
_LINE_BREAKS = {ord(character): f"\\u{ord(character):04x}" for character in "\x85\u2028\u2029"}


def reply(body: Contract, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The contract's JSON, wire names, fields in their declared order: the same body is the same bytes."""
    text = body.model_dump_json(by_alias=True)
    return Response(text, status, headers=dict(headers or {}), media_type="application/json")


def event(name: str, data: str, event_id: int | None = None) -> str:
    """A server-sent event (WHATWG HTML, section 9.2) whose data is a JSON document on one line."""
    identity = "" if event_id is None else f"id: {event_id}\n"
    return f"event: {name}\n{identity}data: {data.translate(_LINE_BREAKS)}\n\n"
