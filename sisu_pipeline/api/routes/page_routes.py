"""The files of the inbox: one page and its scripts, served from this package.

They contain no data of any run, so they need no token: the page requests one and then calls the API.
"""

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from fastapi import APIRouter, Request, Response

from sisu_pipeline.api.auth.guarded_route import GuardedRoute
from sisu_pipeline.domain.canonical import sha256_hex
from sisu_pipeline.domain.errors import NotFound

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_SANDBOX_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "worker-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)


@dataclass(frozen=True)
class Page:
    """The content of a file with its media type."""

    content: bytes
    media_type: str
    etag: str


@router.get("/")
def show_page(request: Request) -> Response:
    """The inbox."""
    return _serve(request, "inbox.html")


@router.get("/assets/{name}")
def show_asset(name: str, request: Request) -> Response:
    """A script or a style of the inbox."""
    return _serve(request, name)


@cache
def pages() -> dict[str, Page]:
    """Every file of the inbox, by its name."""
    folder = resources.files("sisu_pipeline") / "inbox"
    return {file.name: _page(file) for file in folder.iterdir() if _media_type(file.name)}


def _page(file: Any) -> Page:
    content = file.read_bytes()
    return Page(content, _media_type(file.name), f'"{sha256_hex(content)}"')


def _media_type(name: str) -> str:
    return next((f"{kind}; charset=utf-8" for suffix, kind in _TYPES.items() if name.endswith(suffix)), "")


def _serve(request: Request, name: str) -> Response:
    page = pages().get(name)
    if page is None:
        raise NotFound("no such file")
    headers = {**_SANDBOX_HEADERS, "ETag": page.etag}
    if request.headers.get("if-none-match") == page.etag:
        return Response(status_code=304, headers=headers)
    return Response(page.content, headers=headers, media_type=page.media_type)
