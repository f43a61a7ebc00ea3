"""Who may ask, as long as the API knows no tokens: programs on this machine, and pages it served itself.

A web page elsewhere can make a visitor's browser post to a loopback port, and by rebinding its own name can
even read the answers. A browser always says where it comes from: `Origin` and `Host` tell such a page.
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


def is_foreign(request: Request) -> bool:
    """Whether a page of another site, or under another name, sent this."""
    host, origin = request.headers.get("host"), request.headers.get("origin")
    if host is not None and not is_loopback(_name(host)):
        return True
    return origin is not None and origin != f"http://{host}"


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
