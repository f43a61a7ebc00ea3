"""Measure decisions: 1,000 gates are open and 20 clients decide concurrently.

`python -m tests.integration.gate.load [GATES] [CLIENTS] [ROUNDS]`: 1,000, 20 and 4 unless given.

A tenth of the requests are duplicates, a tenth conflict. Each round decides on the same gates in a copy of the
database, one round without tokens, the next with a token per client. It counts decisions, looks for runs that were
lost or decided twice, checks the laws, and prints the latency of a request as the client measures it and the CPU
time of the API and Postgres per request. It is a measurement and not part of `make test`. The API is a process of
its own, as in production; the database is an embedded one with its usual durability (fsync on). No other process of
a stack runs: `sisu lab gate` measures the same with the whole engine.
"""

import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
from psycopg import conninfo, sql

from resources.database import DATABASE, Database
from sisu_pipeline import database_server as server
from sisu_pipeline import oracle
from sisu_pipeline.contracts.access import Role
from sisu_pipeline.proof.harness import load_generator
from sisu_pipeline.proof.harness.lab_stack import free_ports
from sisu_pipeline.settings import PROJECT_ROOT, Settings, load_settings
from sisu_pipeline.store.access import tokens
from sisu_pipeline.workflow import ownership, step_execution
from sisu_pipeline.workflow.dependencies import Dependencies
from tests.builders import a_run, an_intent
from tests.integration.api.conftest import dependencies_over

Json = dict[str, Any]

LIMIT_P95_MS = 50.0


def main(gates: int = 1000, clients: int = 20, rounds: int = 4) -> int:
    """Measure; returns 0 when every law holds and the median p95 of the rounds is below the limit."""
    with tempfile.TemporaryDirectory(prefix="sisu-", ignore_cleanup_errors=True) as folder:
        settings = load_settings({"SISU_HOME": folder})
        database = server.up(settings)
        try:
            began = time.monotonic()
            runs = [_waiting(dependencies_over(database, Path(folder)), number) for number in range(gates)]
            _print(f"{gates} gates opened after {time.monotonic() - began:.1f} s")
            reports = [_round(settings, database, runs, clients, number) for number in range(rounds)]
        finally:
            server.down(settings)
    p95 = statistics.median(report["p95_ms"] for report in reports)
    _print(f"median p95 {p95} ms of {rounds} rounds; the limit is {LIMIT_P95_MS} ms")
    return 0 if all(report["holds"] for report in reports) and p95 < LIMIT_P95_MS else 1


def _round(settings: Settings, original: Database, runs: list[str], clients: int, number: int) -> Json:
    names = [f"client {each}" for each in range(clients)] if number % 2 else []
    requests = load_generator.draw_requests(runs, random.Random(4))
    (port,) = free_ports(1)
    with _copy(original, f"round_{number}") as database:
        with database.connect() as connection:
            for name in names:
                tokens.create(connection, f"sisu_{name}", name, [Role.APPROVER])
        with _api(settings, database, port) as api:
            before = _cpu(settings, api)
            responses, seconds = asyncio.run(
                load_generator.send_all(port, requests, clients, [f"sisu_{name}" for name in names])
            )
            spent = [now - then for now, then in zip(_cpu(settings, api), before, strict=True)]
        report = {
            "tokens": len(names),
            **load_generator.summarize(responses, seconds),
            "api_cpu_ms_per_request": round(spent[0] * 1000 / len(responses), 2),
            "postgres_cpu_ms_per_request": round(spent[1] * 1000 / len(responses), 2),
            "load_average": round(os.getloadavg()[0], 1),
            **_judge(database, runs, responses),
        }
    _print(json.dumps(report))
    return report


def _waiting(dependencies: Dependencies, number: int) -> str:
    """A run that waits at its gate and exists only as rows."""
    with dependencies.database.connect() as connection:
        run = a_run(connection, an_intent(f"goal {number}"))
    ownership.enter(dependencies.database, run.workflow_id, f"dagster-{number}")
    for step in (step_execution.compile_intent, step_execution.apply_patches):
        result = step(dependencies, run.workflow_id)
        assert result is not None
        step_execution.commit(dependencies, run.workflow_id, result)
    assert ownership.suspend(dependencies.database, run.workflow_id)
    return run.id


def _judge(database: Database, runs: list[str], responses: list[load_generator.DecisionResponse]) -> Json:
    with database.connect() as connection:
        rows = connection.execute("SELECT run_id, decision FROM app.plan_approvals").fetchall()
        ledger = connection.execute(
            "SELECT count(*) AS n, count(DISTINCT run_id) AS runs FROM app.human_interactions"
        ).fetchone()
    with database.connect() as connection:
        broken = [verdict.law for verdict in oracle.judge(connection) if not verdict.holds]
    decided = {row["run_id"]: row["decision"] for row in rows}
    wrong = load_generator.contradictions(responses, decided)
    once = len(rows) == len(runs) and set(decided) == set(runs) and ledger == {"n": len(runs), "runs": len(runs)}
    return {
        "decisions": len(rows),
        "ledger": ledger,
        "wrong_answers": len(wrong),
        "oracle": broken or "clean",
        "holds": once and not wrong and not broken,
    }


@contextmanager
def _copy(original: Database, name: str) -> Iterator[Database]:
    """Copy the database; drop the copy at the end."""
    copy, source = sql.Identifier(name), sql.Identifier(DATABASE)
    with psycopg.connect(conninfo.make_conninfo(original.url, dbname="postgres"), autocommit=True) as maintenance:
        maintenance.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(copy, source))
        try:
            yield Database(original.url.replace(f"/{DATABASE}?", f"/{name}?"))
        finally:
            maintenance.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(copy))


@contextmanager
def _api(settings: Settings, database: Database, port: int) -> Iterator[psutil.Process]:
    environment = {**os.environ, "DATABASE_URL": database.url, "SISU_HOME": str(settings.home), "PORT": str(port)}
    command = [sys.executable, "-m", "sisu_pipeline.api.server"]
    process = subprocess.Popen(command, cwd=PROJECT_ROOT, env=environment, stderr=subprocess.DEVNULL)
    try:
        _ready(port)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(20)


def _cpu(settings: Settings, api: psutil.Process) -> tuple[float, float]:
    """CPU seconds so far: of the API, and of the database server with all its processes, exited ones included."""
    pid = int((settings.home / "postgres" / "postmaster.pid").read_text().split()[0])
    postmaster = psutil.Process(pid)
    ended = postmaster.cpu_times()
    living = [process.cpu_times() for process in (postmaster, *postmaster.children())]
    spent = api.cpu_times()
    return (
        spent.user + spent.system,
        ended.children_user + ended.children_system + sum(each.user + each.system for each in living),
    )


def _ready(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise TimeoutError("the API did not start")


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
