"""Measure submissions while others hold connections: alone, beside idle connections, beside open streams.

`python -m tests.integration.access.load [SUBMISSIONS] [IDLE] [STREAMS]`: 200, 1,500 and 400 unless given.

The API is a process of its own over an embedded Postgres with its usual durability. Another process holds the
connections; as many viewers hold the streams as the limit per caller requires. A submission is `POST /intents` and
`POST /intents/{id}/run`, one after the other by one client. The measurement fails when the median beside others is
more than twice the median alone. It is not part of `make test`.
"""

import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from resources.database import Database
from sisu_pipeline import database_server as server
from sisu_pipeline.api.auth.authentication import MOST_STREAMS
from sisu_pipeline.api.http.connection_limits import HEAD_TIMEOUT_S
from sisu_pipeline.contracts.access import Role
from sisu_pipeline.proof.harness.lab_stack import free_ports
from sisu_pipeline.settings import PROJECT_ROOT, Settings, load_settings
from sisu_pipeline.store.access import tokens
from tests.builders import a_run, an_intent

MOST_SLOWER = 2.0
_GATES = 100
_IDLE, _STREAM = "idle", "stream"


def main(submissions: int = 200, idle: int = 1500, streams: int = 400) -> int:
    """Measure; returns 0 when no kind of connection slows a submission beyond the limit."""
    with tempfile.TemporaryDirectory(prefix="sisu-", ignore_cleanup_errors=True) as folder:
        settings = load_settings({"SISU_HOME": folder})
        database = server.up(settings)
        try:
            _seed(database, streams)
            with _api(settings, database) as port:
                _submit(port, 20, "warm")
                reports = {"alone": _shown("alone", _submit(port, submissions, "alone"))}
                for kind, count in ((_IDLE, idle), (_STREAM, streams)):
                    with _held(kind, port, count):
                        name = f"{count} {kind}"
                        reports[name] = _shown(name, _submit(port, submissions, kind))
                reports["again"] = _shown("alone again", _submit(port, submissions, "again"))
        finally:
            server.down(settings)
    slowest = max(report["median_ms"] for report in reports.values())
    return 0 if slowest <= MOST_SLOWER * reports["alone"]["median_ms"] else 1


def _seed(database: Database, streams: int) -> None:
    """A submitter, the viewers, and runs for the inbox to show."""
    with database.connect() as connection:
        tokens.create(connection, "sisu_submitter", "submitter", [Role.SUBMITTER])
        for number in range(streams // MOST_STREAMS + 1):
            tokens.create(connection, f"sisu_viewer_{number}", f"viewer {number}", [Role.VIEWER])
        for number in range(_GATES):
            a_run(connection, an_intent(f"seeded {number}"))


def _submit(port: int, count: int, name: str) -> dict[str, float]:
    """Milliseconds per submission of one client."""
    headers = {"Authorization": "Bearer sisu_submitter"}
    taken = []
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False, timeout=60) as client:
        for number in range(count):
            body = {"goal": f"{name} {number}", "inputs": {}, "constraints": {}}
            began = time.perf_counter()
            intent = client.post("/intents", json=body).raise_for_status().json()["intentId"]
            client.post(f"/intents/{intent}/run", json={"queuePartitionKey": "load"}).raise_for_status()
            taken.append((time.perf_counter() - began) * 1000)
    percentiles = statistics.quantiles(taken, n=20)
    return {
        "median_ms": round(percentiles[9], 1),
        "p95_ms": round(percentiles[18], 1),
        "worst_ms": round(max(taken), 1),
    }


def _shown(name: str, report: dict[str, float]) -> dict[str, float]:
    _print(f"{name}: {json.dumps(report)}")
    return report


@contextmanager
def _api(settings: Settings, database: Database) -> Iterator[int]:
    (port,) = free_ports(1)
    environment = {**os.environ, "DATABASE_URL": database.url, "SISU_HOME": str(settings.home), "PORT": str(port)}
    command = [sys.executable, "-m", "sisu_pipeline.api.server"]
    process = subprocess.Popen(command, cwd=PROJECT_ROOT, env=environment, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False)
                break
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def _held(kind: str, port: int, count: int) -> Iterator[None]:
    """Another process holds the connections until the block ends."""
    command = [sys.executable, "-m", "tests.integration.access.load", kind, str(port), str(count)]
    process = subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield
    finally:
        process.terminate()
        process.wait(20)


async def _hold(kind: str, port: int, count: int) -> None:
    """Hold connections, each opened again when the server closes it, until the process is terminated."""
    opened = asyncio.Semaphore(0)
    tasks = [asyncio.create_task(_keep(kind, port, number, opened)) for number in range(count)]
    for _ in range(count):
        await opened.acquire()
    _print("held")
    await asyncio.gather(*tasks)


async def _keep(kind: str, port: int, number: int, opened: asyncio.Semaphore) -> None:
    token = f"sisu_viewer_{number // MOST_STREAMS}"
    request = f"GET /inbox/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n"
    while True:
        is_served = kind == _IDLE
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            if kind == _STREAM:
                writer.write(request.encode())
                is_served = b" 200 " in await reader.readline()
            if is_served:
                opened.release()
            while await reader.read(65536):
                pass
            writer.close()
        # The server closes what sends no request; a client that came back at once would not be idle.
        await asyncio.sleep(HEAD_TIMEOUT_S if kind == _IDLE else 1)


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1:2] in ([_IDLE], [_STREAM]):
        asyncio.run(_hold(sys.argv[1], *map(int, sys.argv[2:])))
    else:
        sys.exit(main(*map(int, sys.argv[1:])))
