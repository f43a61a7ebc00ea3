"""Which requests reach Dagster's pages: cross-site requests and foreign host names are refused.

A web page elsewhere can make a visitor's browser send requests to a loopback port, and a name that it rebinds to
this machine lets it read the answers. The browser reports both: `Host`, `Origin` and the Fetch metadata headers
(https://www.w3.org/TR/fetch-metadata/) name the page that sends the request.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sisu_pipeline.api.auth.host_guard import host_name, is_loopback

_READS = frozenset({"GET", "HEAD"})
_OWN_SITES = frozenset({"same-origin", "none"})
GRAPHQL = "/graphql"


@dataclass(frozen=True)
class WebRequest:
    """What the rules look at: header names in lower case, `peer` is the client's address."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    is_websocket: bool = False
    peer: str | None = None


def refusal(request: WebRequest, host_names: Collection[str]) -> str | None:
    """The reason to refuse the request with 403; None when it may pass.

    `host_names` are the names beside loopback ones under which this server is reached, in lower case.
    """
    host = request.headers.get("host", "")
    if not (is_loopback(host_name(host)) or host_name(host) in host_names):
        return f"this server is not reached as {host[:100]!r}: set SISU_DAGSTER_URL to the address that people use"
    origin = request.headers.get("origin")
    if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
        return "the request comes from a page of another origin"
    if request.is_websocket:
        return None
    return _fetch_refusal(request)


def _fetch_refusal(request: WebRequest) -> str | None:
    site = request.headers.get("sec-fetch-site")
    if site is None or site in _OWN_SITES:
        return None
    is_navigation = (
        request.method in _READS
        and request.headers.get("sec-fetch-mode") == "navigate"
        and request.headers.get("sec-fetch-dest") == "document"
        and request.path != GRAPHQL
    )
    return None if is_navigation else "the request comes from a page of another site"


def is_local(request: WebRequest) -> bool:
    """Whether this machine sent the request: a loopback peer that uses a loopback name."""
    return is_loopback(host_name(request.headers.get("host", ""))) and (
        request.peer is None or is_loopback(request.peer)
    )
