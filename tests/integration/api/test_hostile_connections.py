"""Below the routes: bytes that are not HTTP, bodies without end, clients that leave."""

import json
import socket
from collections.abc import Callable, Iterator

import pytest

from tests.integration.api.conftest import HOST, Api


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /intents\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"POST /intents HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /intents HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST /intents HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        b"POST /intents HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused_and_changes_nothing(
    api: Api, contents: Callable[[], dict[str, str]], raw: bytes
) -> None:
    before = contents()
    with socket.create_connection((HOST, api.port), timeout=10) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        status_line = connection.makefile("rb").readline()
    assert status_line == b"" or status_line.startswith(b"HTTP/1.1 4")
    assert contents() == before


def test_a_path_of_raw_bytes_is_refused(api: Api) -> None:
    with socket.create_connection((HOST, api.port), timeout=10) as connection:
        connection.sendall(b"GET /runs/\xff\xfe HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        assert connection.makefile("rb").readline().startswith(b"HTTP/1.1 4")


def test_an_oversized_chunked_body_is_a_413(api: Api) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(9):
            yield b" " * (1024 * 1024)

    answer = api.client.post("/intents", content=chunks())
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_nothing(
    api: Api, contents: Callable[[], dict[str, str]]
) -> None:
    before = contents()
    body = json.dumps({"goal": "g" * 1000, "inputs": {}, "constraints": {}}).encode()
    for _ in range(20):
        with socket.create_connection((HOST, api.port), timeout=10) as connection:
            head = f"POST /intents HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body[:-1])
    assert api.get("/healthz").status_code == 200
    assert contents() == before
