"""The page for a person who follows a link to this server and whose browser sends no session.

A browser keeps the session's cookie (`SameSite=Strict`) from a request that another site's page starts, a link in a
chat for example. A request for the same address by a page of this server carries the cookie.
"""

from html import escape

from fastapi import Request
from fastapi.responses import HTMLResponse

from sisu_pipeline.api.http.error_responses import Refusal

_OWN_SITES = frozenset({"same-origin", "none"})
_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title>{refresh}</head>
<body><main><h1>{title}</h1><p>{text}</p></main></body>
</html>
"""


def offer(request: Request, failure: Exception) -> HTMLResponse | None:
    """The page to answer a 401 with; None for a request that no person makes by following a link."""
    if not (isinstance(failure, Refusal) and failure.status == 401 and _is_navigation(request)):
        return None
    address = escape(_address(request))
    if request.headers.get("sec-fetch-site") in _OWN_SITES:
        text = f'Sign in at the <a href="/">inbox</a>, then open <a href="{address}">this address</a> again.'
        page = _PAGE.format(title="Sign in first", refresh="", text=text)
    else:
        refresh = f'<meta http-equiv="refresh" content="0; url={address}">'
        page = _PAGE.format(title="Opening", refresh=refresh, text=f'<a href="{address}">Open the address</a>')
    return HTMLResponse(page, 401, headers={**failure.headers, "Cache-Control": "no-store"})


def _is_navigation(request: Request) -> bool:
    headers = request.headers
    is_document = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return request.method == "GET" and is_document and "authorization" not in headers


def _address(request: Request) -> str:
    """The path and query of the request, which never name another server."""
    path = "/" + request.scope["raw_path"].decode("latin-1").lstrip("/\\")
    query = request.scope["query_string"].decode("latin-1")
    return f"{path}?{query}" if query else path
