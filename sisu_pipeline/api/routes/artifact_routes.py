"""The content of artifacts."""

import json
from base64 import b64decode
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.convertors import Convertor, register_url_convertor

from sisu_pipeline.api.auth.guarded_route import GuardedRoute
from sisu_pipeline.api.http.byte_ranges import NotSatisfiable, requested
from sisu_pipeline.api.http.error_responses import documented
from sisu_pipeline.api.http.path_parameters import ArtifactAddress
from sisu_pipeline.api.http.query_parameters import PlainRequest
from sisu_pipeline.api.state.app_state import AppStateOf
from sisu_pipeline.domain.errors import NotFound
from sisu_pipeline.store.outputs import artifacts
from sisu_pipeline.store.outputs.artifacts import BlobStore, StoredArtifact

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
SVG = "image/svg+xml"
BINARY = "application/octet-stream"

_JSON_KINDS = frozenset(
    {"json", "raw", "timings", "artifact_index", "question_card", "plan_card", "json_diagnostic"}
)
_TEXT_KINDS = frozenset({"stdout", "stderr", "text", "none", "file"})
_SCHEME = "artifact://"
_URI = f"{_SCHEME}run/"

# The output of a task is untrusted: a browser must neither guess its type nor execute it.
_SANDBOX_HEADERS = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox"}


class ArtifactUri(Convertor[str]):
    """The rest of the path, including line breaks, which a file name may contain."""

    regex = r"[\s\S]+"

    def convert(self, value: str) -> str:
        """Return the value unchanged."""
        return value

    def to_string(self, value: str) -> str:
        """Return the value unchanged."""
        return value


register_url_convertor("artifact_uri", ArtifactUri())

router = APIRouter(route_class=GuardedRoute, dependencies=[PlainRequest], tags=["artifacts"])


@dataclass(frozen=True)
class Content:
    """The content of an artifact with its media type."""

    body: bytes
    media_type: str


class BlobLost(Exception):
    """The content of a stored artifact is missing in the blob store."""


@router.get(
    "/artifacts/{uri:artifact_uri}",
    response_class=Response,
    responses={
        200: {
            "description": "The content; the ETag is its sha256.",
            "headers": {"ETag": {"required": True, "schema": {"type": "string", "pattern": '^"[0-9a-f]{64}"$'}}},
            # Bytes first: generators of clients take the first type for the one to expect.
            "content": {
                BINARY: {"schema": {"type": "string", "format": "binary"}},
                JSON: {"schema": {}},
                "text/plain": {"schema": {"type": "string"}},
                SVG: {"schema": {}},
            },
        },
        206: {"description": "The part that `Range` names, to resume a download."},
        304: {"description": "It is what `If-None-Match` names."},
        416: {"description": "The artifact has none of the bytes of `Range`; `Content-Range` has its size."},
        **documented(400, 404),
    },
)
def show_artifact(uri: ArtifactAddress, request: Request, state: AppStateOf) -> Response:
    """An artifact's content by its address, `run/…` or percent-encoded `artifact://run/…`.

    Some proxies change or refuse an encoded slash: the first form needs none.
    """
    if uri.startswith("run/"):
        uri = f"{_SCHEME}{uri}"
    if not uri.startswith(_URI) or "\0" in uri:
        raise NotFound("artifact not found")
    with state.pool.connect() as connection:
        artifact = artifacts.by_uri(connection, uri)
    headers = {"ETag": f'"{artifact.sha256}"', **_SANDBOX_HEADERS}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    shown = content(artifact.kind, _inline(artifact, state.blobs))
    body = shown.body
    headers["Accept-Ranges"] = "bytes"
    try:
        part = requested(request.headers.get("range"), request.headers.get("if-range"), headers["ETag"], len(body))
    except NotSatisfiable:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{len(body)}"})
    if part is None:
        return Response(body, headers=headers, media_type=shown.media_type)
    headers["Content-Range"] = part.content_range
    return Response(part.of(body), status_code=206, headers=headers, media_type=shown.media_type)


def content(kind: str, inline: Any) -> Content:
    """The content served for an artifact.

    JSON kinds are indented, text and the bytes of files unchanged, anything else is compact JSON.
    """
    members = inline if isinstance(inline, dict) else {}
    if kind == "file" and isinstance(members.get("base64"), str):
        return Content(b64decode(members["base64"]), BINARY)
    text, media_type = _shown(kind, inline, members)
    return Content(text.encode(), media_type)


def _shown(kind: str, inline: Any, members: dict[str, Any]) -> tuple[str, str]:
    if kind in _JSON_KINDS:
        return _pretty(members.get("json", members.get("text", inline))), JSON
    text = members.get("text")
    if kind == "svg" and isinstance(text, str):
        return text, SVG
    if kind in _TEXT_KINDS:
        return text if isinstance(text, str) else _pretty(inline), TEXT
    return json.dumps(inline, ensure_ascii=False, separators=(",", ":")), TEXT


def _inline(artifact: StoredArtifact, blobs: BlobStore) -> Any:
    try:
        return artifacts.content(artifact, blobs)
    except NotFound as failure:
        # A 500, not a 404: the row exists, and its content must.
        raise BlobLost(f"{artifact.uri}: {failure}") from failure


def _pretty(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
