"""Before a caller is known: bounded heads, bodies, members, connections and streams."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from fastapi import Request

from sisu_pipeline.api.auth import authentication
from sisu_pipeline.api.auth.host_guard import is_foreign_host
from sisu_pipeline.api.http import connection_limits
from tests.integration.api.conftest import HOST, Api


@contextlib.contextmanager
def connection(api: Api) -> Iterator[socket.socket]:
    with socket.create_connection((HOST, api.port), timeout=20) as opened:
        yield opened


def closed_by_server(opened: socket.socket) -> bool:
    """Whether the server closes the connection, in whatever way, before the socket's timeout."""
    try:
        while opened.recv(65536):
            pass
    except ConnectionError:
        return True
    return True


def test_headers_are_bounded_before_anything_else(api: Api) -> None:
    with connection(api) as opened, contextlib.suppress(ConnectionError):
        opened.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        for number in range(2000):
            opened.sendall(b"X-%d: %b\r\n" % (number, b"a" * 8000))
    with connection(api) as opened:
        opened.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 80_000)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while piece := opened.recv(65536):
                answer += piece
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "headers_too_large"
    assert api.get("/healthz").status_code == 200


def test_a_connection_must_send_its_request_in_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limits, "HEAD_TIMEOUT_S", 0.3)
    monkeypatch.setattr(connection_limits, "BODY_TIMEOUT_S", 0.3)
    for sent in (
        b"",
        b"GET /healthz HT",
        b"POST /intents HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{",
    ):
        with connection(api) as opened:
            opened.sendall(sent)
            assert closed_by_server(opened)


def test_fifteen_hundred_idle_connections_do_not_keep_others_out(api: Api) -> None:
    with contextlib.ExitStack() as held:
        for _ in range(1500):
            held.enter_context(connection(api))
        began = time.monotonic()
        assert api.post("/intents", {"goal": "g", "inputs": {}, "constraints": {}}).status_code == 201
        assert time.monotonic() - began < 5
        assert len(connection_limits.BoundedHttpProtocol._waiting) <= connection_limits.MOST_WAITING


def test_the_open_route_takes_four_kibibytes(api: Api) -> None:
    answer = api.client.post("/session/cookie", content=b'{"token": "%b"}' % (b"a" * 5000))
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("place", ["", "budget"])
def test_unknown_members_are_counted_before_they_are_listed(
    api: Api, contents: Callable[[], dict[str, str]], place: str
) -> None:
    before = contents()
    members = {f"k{number}": 1 for number in range(300_000)}
    body = json.dumps({place: members} if place else members).encode()
    began = time.process_time()
    answer = api.client.post(f"/intents/ih_{'0' * 64}/run", content=body)
    assert time.process_time() - began < 5
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_contract")
    assert "300000 members" in answer.json()["error"]
    assert contents() == before


def test_streams_of_one_caller_are_bounded(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "MOST_STREAMS", 3)
    with contextlib.ExitStack() as held:
        for _ in range(3):
            assert held.enter_context(api.client.stream("GET", "/inbox/events")).status_code == 200
        with api.client.stream("GET", "/inbox/events") as refused:
            assert refused.status_code == 429
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with api.client.stream("GET", "/inbox/events") as again:
            if again.status_code == 200:
                break
        time.sleep(0.05)
    assert again.status_code == 200


@pytest.mark.parametrize(
    ("host", "peer", "foreign"),
    [("localhost", "127.0.0.1", False), ("localhost", "203.0.113.9", True), ("evil@127.0.0.1", "127.0.0.1", True)],
)
def test_a_local_name_from_another_machine_is_not_local(host: str, peer: str, foreign: bool) -> None:
    scope = {"type": "http", "headers": [(b"host", host.encode())], "client": (peer, 1)}
    assert is_foreign_host(Request(scope)) is foreign


def test_open_files_are_not_left(api: Api) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count
    for _ in range(50):
        with connection(api) as opened:
            opened.sendall(b"GET ")
    with httpx.Client(base_url=api.url) as client:
        assert client.get("/healthz").status_code == 200
    deadline = time.monotonic() + 20
    while len(os.listdir("/proc/self/fd")) > before + 5:  # noqa: PTH208
        assert time.monotonic() < deadline
        time.sleep(0.05)
