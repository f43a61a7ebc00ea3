"""A contract as a response."""

from collections.abc import Mapping

from fastapi import Response

from sisu_pipeline.contracts.base import Contract


def reply(body: Contract, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The contract's JSON, wire names, fields in their declared order: the same body is the same bytes."""
    text = body.model_dump_json(by_alias=True)
    return Response(text, status, headers=dict(headers or {}), media_type="application/json")
