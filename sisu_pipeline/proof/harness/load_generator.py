"""Many people who decide at once: what they ask for, and what each request was answered and when."""

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
DECISIONS = {APPROVE: "approved", REJECT: "rejected"}
# A tenth of the requests repeats another one, a tenth contradicts one.
_TENTH = 10
_ACCEPTED, _CONFLICT = 202, 409
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Wish:
    """One request: the word about a run."""

    run: str
    word: str


@dataclass(frozen=True)
class Answer:
    """What a request was answered, and after how many milliseconds as its client measures them."""

    run: str
    word: str
    status: int
    ms: float


def wishes(runs: Sequence[str], draw: random.Random) -> list[Wish]:
    """A word about each run, a tenth of them again, a tenth contradicted, in any order."""
    first = [Wish(run, draw.choice([APPROVE, REJECT])) for run in runs]
    again = draw.sample(first, len(first) // _TENTH)
    other = [Wish(one.run, REJECT if one.word == APPROVE else APPROVE) for one in draw.sample(first, len(again))]
    every = [*first, *again, *other]
    draw.shuffle(every)
    return every


async def decide(
    port: int, wanted: Sequence[Wish], clients: int, tokens: Sequence[str] = ()
) -> tuple[list[Answer], float]:
    """Send them all from so many clients at once, each with the next wish as soon as it was answered.

    With `tokens` the clients take them in turn. Returns every answer, and the seconds it took altogether.
    Raises OSError or asyncio.IncompleteReadError when the API goes away.
    """
    left = iter(wanted)
    answers: list[Answer] = []
    together = asyncio.Barrier(clients + 1)

    async def client(number: int) -> None:
        one = await _Client.connect(port, tokens[number % len(tokens)] if tokens else None)
        try:
            # The plan these people read before they decide: afterwards the API's own connections are open.
            await one.ask("GET", f"/runs/{wanted[0].run}", b"")
            await together.wait()
            await _say(one, f"client {number}", left, answers)
        finally:
            one.close()

    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(client(number))
        await together.wait()
        began = time.perf_counter()
    return answers, time.perf_counter() - began


def wrong(answers: Sequence[Answer], decided: dict[str, str]) -> list[Answer]:
    """Answers that contradict what is stored (run: decision): a 202 belongs to that word, a 409 to the other."""
    return [
        answer
        for answer in answers
        if answer.status != (_ACCEPTED if decided.get(answer.run) == DECISIONS[answer.word] else _CONFLICT)
    ]


def figures(answers: Sequence[Answer], seconds: float) -> Json:
    """Latency of the requests in milliseconds, how many a second, and how they were answered."""
    times = [answer.ms for answer in answers]
    at = statistics.quantiles(times, n=100, method="inclusive")
    return {
        "requests": len(answers),
        "requests_per_s": round(len(answers) / seconds, 1),
        "answers": {str(status): count for status, count in sorted(Counter(a.status for a in answers).items())},
        "p50_ms": round(at[49], 1),
        "p95_ms": round(at[94], 1),
        "p99_ms": round(at[98], 1),
        "max_ms": round(max(times), 1),
    }


async def _say(one: "_Client", name: str, left: Iterator[Wish], answers: list[Answer]) -> None:
    for wish in left:
        body = {"approvedBy": name} if wish.word == APPROVE else {"rejectedBy": name, "reason": "no"}
        began = time.perf_counter()
        status = await one.ask("POST", f"/runs/{wish.run}/{wish.word}-plan", json.dumps(body).encode())
        answers.append(Answer(wish.run, wish.word, status, (time.perf_counter() - began) * 1000))


@dataclass(frozen=True)
class _Client:
    """HTTP by hand over one connection: a client library would use as much CPU as the API, on the same cores."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    head: str

    @classmethod
    async def connect(cls, port: int, token: str | None) -> "_Client":
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        known = "" if token is None else f"Authorization: Bearer {token}\r\n"
        return cls(reader, writer, f"HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{known}")

    async def ask(self, method: str, path: str, body: bytes) -> int:
        """A request's status; its body is read and thrown away."""
        self.writer.write(f"{method} {path} {self.head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = await self.reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(answer)
        await self.reader.readexactly(int(length[1]) if length else 0)
        return int(answer.split(b" ", 2)[1])

    def close(self) -> None:
        """Hang up."""
        self.writer.close()
