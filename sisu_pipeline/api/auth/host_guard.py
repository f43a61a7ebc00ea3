"""Cross-site request checks: by `Origin`, and while no token exists also by `Host` and the peer's address.

A web page elsewhere can make a visitor's browser post to a loopback port, and a page that rebinds its own name can
even read the responses. Browsers send `Origin` and `Host`, which identify such pages.
"""

import ipaddress
from urllib.parse import urlsplit

from fastapi import Request


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_foreign_page(request: Request) -> bool:
    """Whether a page of another site sent the request. A proxy in front may terminate https."""
    host, origin = request.headers.get("host"), request.headers.get("origin")
    return origin is not None and origin not in (f"http://{host}", f"https://{host}")


def is_foreign_host(request: Request) -> bool:
    """Whether the request comes under a name that is not this machine's own, or from another machine."""
    host = request.headers.get("host")
    peer = request.client
    return (host is not None and not is_loopback(host_name(host))) or (
        peer is not None and not is_loopback(peer.host)
    )


def host_name(host: str) -> str:
    """The name part of a `Host` header in lower case; empty when it is malformed."""
    if "@" in host:
        return ""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
