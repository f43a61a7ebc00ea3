"""Requests of other origins and under foreign host names are refused at Dagster's port."""

from typing import Any

import pytest

from sisu_pipeline.api.auth.host_guard import host_name
from sisu_pipeline.dagster_web.request_rules import WebRequest, is_local, refusal

OWN = {"host": "127.0.0.1:3002"}


def request(method: str = "POST", path: str = "/graphql", **changes: Any) -> WebRequest:
    headers = {**OWN, **{name.replace("_", "-"): value for name, value in changes.pop("headers", {}).items()}}
    return WebRequest(method, path, "", headers, **changes)


ALLOWED = [
    {},
    {"origin": "http://127.0.0.1:3002"},
    {"origin": "http://127.0.0.1:3002", "sec_fetch_site": "same-origin"},
    {"host": "localhost:3002", "origin": "http://localhost:3002"},
    {"host": "[::1]:3002"},
    {"host": "dagster.example.org", "origin": "https://dagster.example.org"},
]
REFUSED = [
    {"host": "evil.example:3002"},
    {"host": ""},
    {"host": "evil@127.0.0.1"},
    {"host": "evil.example", "origin": "http://evil.example"},
    {"origin": "http://evil.example"},
    {"origin": "null"},
    {"origin": "http://127.0.0.1:3001"},
    {"sec_fetch_site": "cross-site"},
    {"sec_fetch_site": "same-site"},
]


@pytest.mark.parametrize("headers", ALLOWED)
def test_a_request_of_this_origin_passes(headers: dict[str, str]) -> None:
    assert refusal(request(headers=headers), {"dagster.example.org"}) is None


@pytest.mark.parametrize("headers", REFUSED)
def test_a_request_of_another_origin_or_name_is_refused(headers: dict[str, str]) -> None:
    assert refusal(request(headers=headers), {"dagster.example.org"}) is not None
    if "sec_fetch_site" not in headers:  # browsers send an Origin with every WebSocket
        assert refusal(request(headers=headers, is_websocket=True), {"dagster.example.org"}) is not None


def test_a_link_from_another_site_opens_a_page_but_never_graphql() -> None:
    navigation = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    assert refusal(request("GET", "/runs/1", headers=navigation), ()) is None
    assert refusal(request("GET", "/graphql", headers=navigation), ()) is not None
    assert refusal(request("POST", "/runs/1", headers=navigation), ()) is not None
    frame = {**navigation, "sec_fetch_dest": "iframe"}
    assert refusal(request("GET", "/runs/1", headers=frame), ()) is not None


@pytest.mark.parametrize(
    ("host", "peer", "local"),
    [
        ("127.0.0.1:3002", "127.0.0.1", True),
        ("localhost", "::1", True),
        ("localhost", "203.0.113.9", False),
        ("dagster.example.org", "127.0.0.1", False),
    ],
)
def test_a_loopback_name_alone_does_not_make_a_caller_local(host: str, peer: str, local: bool) -> None:
    assert is_local(request(headers={"host": host}, peer=peer)) is local


def test_a_malformed_host_has_no_name() -> None:
    assert [host_name(host) for host in ("[::1", "a@localhost", "LOCALHOST:1")] == ["", "", "localhost"]
