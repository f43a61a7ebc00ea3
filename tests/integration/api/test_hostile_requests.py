"""More than 200 malformed or hostile requests per POST route: each a 4xx, the same twice, every table untouched."""

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, NamedTuple

import pytest

from sisu_pipeline.api.http.request_body import FORM_BYTES, MAX_BYTES
from tests.builders import a_run, an_intent
from tests.integration.api.conftest import HOST, Api

_TEXTLESS: list[Any] = [True, 0, -1, 1.5, [], ["x"], {}, {"x": "y"}]
_NOT_OBJECTS: list[Any] = [True, 0, 1.5, "x", "{}", [], [{}]]
_NOT_INTEGERS: list[Any] = [True, "1", 1.5, [], {}, 1e300]


class Route(NamedTuple):
    """A POST route: its path with a place for the id, a body it accepts, and per member what it never accepts."""

    path: str
    body: dict[str, Any]
    wrong: dict[str, list[Any]]


_WORKLOAD = {"concurrency": 1, "steps": 1, "sandboxMinutes": 1}
_BUDGET = {"maxFanout": 1, "maxSBXMinutes": 1, "maxArtifactsMB": 1, "maxRetriesPerStep": 0, "maxWallClockMS": 1}
_WRONG_HASHES = ["", "a", "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n", "g" * 64, 1, {}, [], True]

ROUTES = {
    "intents": Route(
        "/intents",
        {"goal": "g", "inputs": {}, "constraints": {}},
        {
            "goal": [None, "", *_TEXTLESS],
            "inputs": [None, *_NOT_OBJECTS],
            "constraints": [None, *_NOT_OBJECTS],
            "connectors": ["x", 1, True, {}, [1], [None], [[]], [{}], ["a", 1]],
        },
    ),
    "run": Route(
        "/intents/{intent}/run",
        {"queuePartitionKey": "team-a"},
        {
            "traceId": _TEXTLESS,
            "queueName": ["", "q", "intentq", "sbxQ", "compileQ", "controlQ", *_TEXTLESS],
            "lane": ["", "fast", "Interactive", *_TEXTLESS],
            "priority": [0, -1, 2**31, *_NOT_INTEGERS],
            "deduplicationID": _TEXTLESS,
            "timeoutMS": [0, -1, *_NOT_INTEGERS],
            "recipeName": ["", "none", "compile-default ", *_TEXTLESS],
            "recipeVersion": [0, -1, 2, 2**40, *_NOT_INTEGERS],
            "workload": [
                {},
                *_NOT_OBJECTS,
                *({**_WORKLOAD, name: value} for name in _WORKLOAD for value in [None, -1, 1000, *_NOT_INTEGERS]),
            ],
            "tenantId": ["", " ", "\t\n", "\u2003", *_TEXTLESS],
            "taskKey": ["", " ", *_TEXTLESS],
            "queuePartitionKey": [None, "", " ", "\n", "\u3000", *_TEXTLESS],
            "budget": [
                {},
                *_NOT_OBJECTS,
                *({**_BUDGET, name: value} for name in _BUDGET for value in [None, -1, *_NOT_INTEGERS]),
                {**_BUDGET, "max_fanout": 1},
            ],
        },
    ),
    "approve": Route(
        "/runs/{run}/approve-plan",
        {"approvedBy": "po"},
        {
            "approvedBy": [None, "", *_TEXTLESS],
            "notes": _TEXTLESS,
            "planSha256": _WRONG_HASHES,
            "rejectedBy": ["po"],
            "approved_by": ["po"],
        },
    ),
    "reject": Route(
        "/runs/{run}/reject-plan",
        {"rejectedBy": "po", "reason": "r"},
        {
            "rejectedBy": [None, "", *_TEXTLESS],
            "reason": [None, "", *_TEXTLESS],
            "planSha256": _WRONG_HASHES,
            "notes": ["n", None],
            "approvedBy": ["po"],
        },
    ),
}

_UNKNOWN_NAMES = [
    *["", " ", "x", "GOAL", "Goal", "goal ", "__proto__", "constructor", "toString", "id", "intentId", "runId"],
    *["intent_id", "status", "$ref", "a.b", "a/b", "~", "~1", "é", "😀", "\u202e", "\ufeffgoal", "ｇoal", "'; --"],
    *["%s", "%(id)s", "{}", "{0}", "\\", '"', "\n", "\x01", "\x7f", "k" * 10_000, "decidedAt", "isReplay"],
]
_SYNTAX = [
    *[b" ", b"{", b"}", b"[", b"]", b'"', b"{{}}", b"{]", b"{}{}", b"{},", b"[{}", b"{}\0", b"\0", b"\0{}"],
    *[b"nul", b"NULL", b"True", b"NaN", b"Infinity", b"undefined", b"'x'", b"{'goal':'g'}", b"{goal:1}", b"{1:2}"],
    *[b"// x\n{}", b"/**/{}", b"#", b"{}//", b"\xef\xbb\xbf{}", b"\xff\xfe{\0}\0", b"{\0}\0", b"\xff", b"\xc3\x28"],
    *[
        b"--",
        b"-",
        b"1.",
        b".1",
        b"+1",
        b"01",
        b"0x1",
        b"1e",
        b"1_0",
        b"\xe2\x80\x8b{}",
        b"<x/>",
        b"a=b&c=d",
        b"()",
    ],
]
_NOT_AN_OBJECT = [b"null", b"true", b"0", b"-0.0", b"1e5", b'""', b'"{}"', b"[]", b"[{}]", b"[[]]", b'["goal"]']
_ODD_IDS = [
    *["x", ".", "..", "%2e%2e", "%2F", "%5C", "%00", "%0A", "%0D%0A", "%20", "%25", "%ff", "%C3%28", "%ED%A0%80"],
    *[
        "%F0%9F%98%80",
        "%E2%80%AE",
        "%27%3B--",
        "%25s",
        "%7B%7D",
        "null",
        "0",
        "-1",
        "run_",
        "ih_",
        "~",
        "*",
        "$",
        "@",
    ],
    *[
        "run_" + "0" * 32,
        "run_" + "g" * 32,
        "RUN_" + "0" * 32,
        "run_" + "0" * 33,
        "ih_" + "0" * 64,
        "ih_" + "0" * 63,
    ],
    *[
        "ih_" + "F" * 64,
        "ih_" + "0" * 64 + "%0A",
        "%20ih_" + "0" * 64,
        "run_" + "0" * 32 + "%00",
        "k" * 5000,
        ";a=b",
    ],
]
_ODD_QUERIES = ["x=1", "limit=1", "a", "=", "%00=1", "status=queued", "x=1&x=2", "%ff", "id=" + "k" * 1000]
_OTHER_METHODS = ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"]
_DEEP = 100_000


class Hostile(NamedTuple):
    """One request, and the status it must get."""

    path: str
    body: bytes
    method: str = "POST"
    statuses: tuple[int, ...] = (400,)


def _bodies(route: Route) -> Iterator[bytes]:
    """Bodies this route refuses with a 400."""
    yield from _SYNTAX
    yield from _NOT_AN_OBJECT
    for name, values in route.wrong.items():
        yield from (json.dumps({**route.body, name: value}).encode() for value in values)
    for name in _UNKNOWN_NAMES:
        yield json.dumps({**route.body, name: 1}).encode()
    for name in route.body:
        yield json.dumps({key: value for key, value in route.body.items() if key != name}).encode()
    whole = json.dumps(route.body).encode()
    for length in range(1, len(whole)):
        yield whole[:length]
    first, value = next(iter(route.body.items()))
    for text in (
        r"\u0000",
        r"a\u0000b",
        r"\ud800",
        r"\udfff",
        r"\udc00\ud800",
        r"\ud83d",
        r"\x",
        "\\",
        "\t",
        "\x00",
    ):
        yield f'{{"{first}":"{text}"}}'.encode()
        yield f'{{"{first}":{json.dumps(value)},"{text}":1}}'.encode()
    yield f'{{"{first}":{json.dumps(value)},'.encode() + whole[1:]
    yield whole[:-1] + b"," + whole[1:]
    for number in ("1e309", "-1e400", "9007199254740992", "-9007199254740993", "1" * 5000, "NaN", "-Infinity"):
        yield whole[:-1] + f',"x":{number}}}'.encode()
    for opening, end in ((b"[", b"]"), (b'{"a":', b"}")):
        yield opening * _DEEP
        yield opening * _DEEP + b"1" + end * _DEEP
        yield whole[:-1] + b',"inputs":' + opening * 65 + b"1" + end * 65 + b"}"
    yield whole[:-1] + b',"a":"' + b"\xff" * 1000 + b'"}'


def _requests(route: Route, path: str) -> Iterator[Hostile]:
    valid = json.dumps(route.body).encode()
    for body in _bodies(route):
        yield Hostile(path, body)
    for filler in (b" " * MAX_BYTES, b"[" * MAX_BYTES, b"\xff" * (2 * MAX_BYTES)):
        yield Hostile(path, valid + filler, statuses=(413,))
    for method in _OTHER_METHODS:
        # A GET may meet another route of the same path.
        yield Hostile(path, valid, method, (404, 405))
    for query in _ODD_QUERIES:
        yield Hostile(f"{path}?{query}", valid)
    for suffix in ("/", "//", "/x", "%2F", "%00", "%0A", ";x", "."):
        yield Hostile(path + suffix, valid, statuses=(404,))
    if "{" in route.path:
        for odd in _ODD_IDS:
            yield Hostile(route.path.format(intent=odd, run=odd), valid, statuses=(404,))


def _send(connection: http.client.HTTPConnection, request: Hostile) -> tuple[int, bytes]:
    connection.request(request.method, request.path, request.body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, answer.read()


@pytest.mark.parametrize("name", ROUTES)
def test_every_hostile_request_is_a_4xx_says_the_same_twice_and_changes_nothing(
    api: Api, contents: Callable[[], dict[str, str]], name: str
) -> None:
    route = ROUTES[name]
    with api.dependencies.database.connect() as connection:
        run = a_run(connection, an_intent("a run that must not change"))
    path = route.path.format(intent=run.intent_id, run=run.id)
    requests = list(_requests(route, path))
    assert len(requests) >= 200
    before = contents()
    with closing(http.client.HTTPConnection(HOST, api.port, timeout=30)) as client:
        for request in requests:
            first, second = _send(client, request), _send(client, request)
            shown = (request.method, request.path[:200], request.body[:200], first)
            too_large = (413,) if len(request.body) > FORM_BYTES else ()
            assert first[0] in (*request.statuses, *too_large), shown
            assert first == second, shown
            assert len(first[1]) < 20_000, shown
            if request.method != "HEAD":
                assert set(json.loads(first[1])) == {"error", "code", "details"}, shown
    assert contents() == before


def test_the_body_each_route_is_attacked_with_is_otherwise_accepted(api: Api) -> None:
    with api.dependencies.database.connect() as connection:
        intent, other = a_run(connection, an_intent("a")), a_run(connection, an_intent("b"))
    ids = {"intents": "", "run": intent.intent_id, "approve": intent.id, "reject": other.id}
    for name, route in ROUTES.items():
        answer = api.post(route.path.format(intent=ids[name], run=ids[name]), route.body)
        assert answer.is_success, (name, answer.text)
