"""1,000 gates wait, then 20 clients decide at once: `python -m tests.integration.gate.load [GATES] [CLIENTS]`.

A tenth of the requests are duplicates, a tenth conflict. It counts decisions, looks for runs lost or decided
twice, judges the oracle, and prints the decision request's latency as a client measures it. Not part of
`make test`: it is a measurement. The API is a process of its own, as in production; the database is an
embedded one with its usual durability (fsync on).
"""

import asyncio
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx

from resources import database as server
from resources.database import Database
from sisu_pipeline import execution, oracle, ownership
from sisu_pipeline.services import Services
from sisu_pipeline.settings import PROJECT_ROOT, Settings, load_settings
from tests.builders import a_run, an_intent
from tests.integration.api.conftest import services_over

PORT = 39_117
LIMIT_P95_MS = 50.0


def main(gates: int = 1000, clients: int = 20) -> int:
    """Measure; 0 when every law holds and the p95 is under the limit."""
    with tempfile.TemporaryDirectory(prefix="sisu-", ignore_cleanup_errors=True) as folder:
        settings = load_settings({"SISU_HOME": folder})
        database = server.up(settings)
        api = _api(settings, database)
        try:
            began = time.monotonic()
            runs = [_waiting(services_over(database, Path(folder)), number) for number in range(gates)]
            _say(f"{gates} gates wait after {time.monotonic() - began:.1f} s")
            _ready()
            began = time.monotonic()
            answers = asyncio.run(_decide(runs, clients))
            return _judge(database, runs, answers, time.monotonic() - began)
        finally:
            api.terminate()
            api.wait(20)
            server.down(settings)


def _waiting(services: Services, number: int) -> str:
    """A run that waits at its gate: its rows are all that is left of it."""
    with services.database.connect() as connection:
        run = a_run(connection, an_intent(f"goal {number}"))
    ownership.enter(services.database, run.workflow_id, f"dagster-{number}")
    for step in (execution.compile_intent, execution.apply_patches):
        result = step(services, run.workflow_id)
        assert result is not None
        execution.commit(services, run.workflow_id, result)
    assert ownership.suspend(services.database, run.workflow_id)
    return run.id


async def _decide(runs: list[str], clients: int) -> list[tuple[str, str, int, float]]:
    """(run, word, status, milliseconds) of every request: shuffled, a tenth repeated, a tenth contradicted."""
    chance = random.Random(4)
    asked = [(run, chance.choice(["approve", "reject"])) for run in runs]
    again = chance.sample(asked, len(asked) // 10)
    other = [
        (run, "reject" if word == "approve" else "approve") for run, word in chance.sample(asked, len(asked) // 10)
    ]
    requests = [*asked, *again, *other]
    chance.shuffle(requests)
    queue = iter(requests)
    answers: list[tuple[str, str, int, float]] = []

    together = asyncio.Barrier(clients)

    async def client(name: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
        # The inbox these people read before they decide: afterwards the API's connections are open.
        await _ask(reader, writer, "GET", f"/runs/{runs[0]}", b"")
        await together.wait()
        for run, word in queue:
            body = {"approvedBy": name} if word == "approve" else {"rejectedBy": name, "reason": "no"}
            began = time.perf_counter()
            status = await _ask(reader, writer, "POST", f"/runs/{run}/{word}-plan", json.dumps(body).encode())
            answers.append((run, word, status, (time.perf_counter() - began) * 1000))
        writer.close()

    await asyncio.gather(*(client(f"client {number}") for number in range(clients)))
    return answers


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, method: str, path: str, body: bytes
) -> int:
    """A request's status. By hand: a client library would use as much CPU as the API, on the same two cores."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", answer.lower())[1])  # type: ignore[index]
    await reader.readexactly(length)
    return int(answer.split(b" ", 2)[1])


def _judge(database: Database, runs: list[str], answers: list[tuple[str, str, int, float]], seconds: float) -> int:
    with database.connect() as connection:
        rows = connection.execute("SELECT run_id, decision FROM app.plan_approvals").fetchall()
        said = connection.execute(
            "SELECT count(*) AS n, count(DISTINCT run_id) AS runs FROM app.human_interactions"
        )
        ledger = said.fetchone()
    with database.connect() as connection:
        broken = [verdict.law for verdict in oracle.judge(connection) if not verdict.holds]
    decided = {row["run_id"]: row["decision"] for row in rows}
    word = {"approved": "approve", "rejected": "reject"}
    wrong = [each for each in answers if each[2] != (202 if word[decided[each[0]]] == each[1] else 409)]
    times = sorted(each[3] for each in answers)
    p50, p95, p99 = (statistics.quantiles(times, n=100)[at] for at in (49, 94, 98))
    report = {
        "gates": len(runs),
        "decisions": len(rows),
        "runs decided": len(decided),
        "ledger": ledger,
        "answers": dict(Counter(each[2] for each in answers)),
        "wrong answers": len(wrong),
        "oracle": broken or "clean",
        "requests per second": round(len(answers) / seconds, 1),
        "p50 ms": round(p50, 1),
        "p95 ms": round(p95, 1),
        "p99 ms": round(p99, 1),
    }
    _say(json.dumps(report, indent=2))
    holds = len(rows) == len(decided) == len(runs) and set(decided) == set(runs) and not wrong and not broken
    return 0 if holds and p95 < LIMIT_P95_MS else 1


def _api(settings: Settings, database: Database) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "DATABASE_URL": database.url, "SISU_HOME": str(settings.home), "PORT": str(PORT)}
    command = [sys.executable, "-m", "sisu_pipeline.api.server"]
    return subprocess.Popen(command, cwd=PROJECT_ROOT, env=environment, stderr=subprocess.DEVNULL)


def _ready() -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"http://127.0.0.1:{PORT}/runs", trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise TimeoutError("the API did not start")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
