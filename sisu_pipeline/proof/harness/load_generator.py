"""Load generator for decisions: concurrent clients approve and reject; checks and summarizes the responses."""

import asyncio
import json
import random
import re
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

APPROVE, REJECT = "approve", "reject"
STORED_DECISIONS = {APPROVE: "approved", REJECT: "rejected"}
# Of the requests, one in ten is a duplicate of another and one in ten conflicts with another.
_TENTH = 10
_ACCEPTED, _CONFLICT = 202, 409
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class DecisionRequest:
    """A request to approve or reject one run."""

    run: str
    verb: str


@dataclass(frozen=True)
class DecisionResponse:
    """The status of a request's response, and its latency in milliseconds as the client measures it."""

    run: str
    verb: str
    status: int
    ms: float


def draw_requests(runs: Sequence[str], draw: random.Random) -> list[DecisionRequest]:
    """One decision about each run, a tenth of them duplicated, a tenth contradicted, shuffled."""
    first = [DecisionRequest(run, draw.choice([APPROVE, REJECT])) for run in runs]
    duplicates = draw.sample(first, len(first) // _TENTH)
    conflicts = [
        DecisionRequest(one.run, REJECT if one.verb == APPROVE else APPROVE)
        for one in draw.sample(first, len(duplicates))
    ]
    every = [*first, *duplicates, *conflicts]
    draw.shuffle(every)
    return every


async def send_all(
    port: int, requests: Sequence[DecisionRequest], clients: int, tokens: Sequence[str] = ()
) -> tuple[list[DecisionResponse], float]:
    """Send the requests from concurrent clients, each one after another; clients take the tokens in turn.

    Returns every response and the total seconds. Raises OSError or asyncio.IncompleteReadError when the
    connection to the API is lost.
    """
    left = iter(requests)
    responses: list[DecisionResponse] = []
    all_connected = asyncio.Barrier(clients + 1)

    async def run_client(number: int) -> None:
        client = await _Client.connect(port, tokens[number % len(tokens)] if tokens else None)
        try:
            # Warm up: afterwards the API has opened its own database connections.
            await client.request("GET", f"/runs/{requests[0].run}", b"")
            await all_connected.wait()
            await _send(client, f"client {number}", left, responses)
        finally:
            client.close()

    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(run_client(number))
        await all_connected.wait()
        began = time.perf_counter()
    return responses, time.perf_counter() - began


def contradictions(responses: Sequence[DecisionResponse], decided: dict[str, str]) -> list[DecisionResponse]:
    """Responses that contradict the stored decisions, by run: the stored one must get 202, the other 409."""
    return [
        response
        for response in responses
        if response.status
        != (_ACCEPTED if decided.get(response.run) == STORED_DECISIONS[response.verb] else _CONFLICT)
    ]


def summarize(responses: Sequence[DecisionResponse], seconds: float) -> Json:
    """Latency percentiles in milliseconds, requests per second and counts by status."""
    times = [response.ms for response in responses]
    at = statistics.quantiles(times, n=100, method="inclusive")
    return {
        "requests": len(responses),
        "requests_per_s": round(len(responses) / seconds, 1),
        "answers": {str(status): count for status, count in sorted(Counter(r.status for r in responses).items())},
        "p50_ms": round(at[49], 1),
        "p95_ms": round(at[94], 1),
        "p99_ms": round(at[98], 1),
        "max_ms": round(max(times), 1),
    }


async def _send(
    client: "_Client", name: str, left: Iterator[DecisionRequest], responses: list[DecisionResponse]
) -> None:
    for request in left:
        body = {"approvedBy": name} if request.verb == APPROVE else {"rejectedBy": name, "reason": "no"}
        began = time.perf_counter()
        status = await client.request("POST", f"/runs/{request.run}/{request.verb}-plan", json.dumps(body).encode())
        ms = (time.perf_counter() - began) * 1000
        responses.append(DecisionResponse(request.run, request.verb, status, ms))


@dataclass(frozen=True)
class _Client:
    """A minimal HTTP client on one connection: a library's would use as much CPU as the API, on the same cores."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    head: str

    @classmethod
    async def connect(cls, port: int, token: str | None) -> "_Client":
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        authorization = "" if token is None else f"Authorization: Bearer {token}\r\n"
        return cls(reader, writer, f"HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{authorization}")

    async def request(self, method: str, path: str, body: bytes) -> int:
        """Send a request and return the response's status; its body is discarded."""
        self.writer.write(f"{method} {path} {self.head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = _CONTENT_LENGTH.search(head)
        await self.reader.readexactly(int(length[1]) if length else 0)
        return int(head.split(b" ", 2)[1])

    def close(self) -> None:
        """Close the connection."""
        self.writer.close()
