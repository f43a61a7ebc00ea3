"""A stack of its own for a measurement: free ports, its own data folder, CPU and memory by component."""

import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from resources.database import Database, locate
from sisu_pipeline.settings import PROJECT_ROOT, Settings, child_environment, load_settings
from sql import query

COMPONENTS = {
    "api": "sisu_pipeline.api.server",
    "daemon": "sisu_pipeline.daemon",
    "code_server": "dagster api grpc",
    "webserver": "dagster_webserver",
    "intent_worker": "--queue intentQ",
    "sandbox_worker": "--queue sbxQ",
}
NO_LIMITS = {
    "INTENT_QUEUE_RATE_LIMIT_PER_PERIOD": "0",
    "INTENT_QUEUE_CONCURRENCY": "0",
    "SBX_QUEUE_RATE_LIMIT_PER_PERIOD": "0",
    "SBX_QUEUE_CONCURRENCY": "0",
    "SBX_QUEUE_WORKER_CONCURRENCY": "2000",
}
START_TIMEOUT_S = 120.0

Figures = dict[str, float]


class BenchFailed(Exception):
    """A measurement could not be made; the message says where to look."""


@dataclass
class Stage:
    """A running stack and what to ask of it."""

    settings: Settings
    process: subprocess.Popen[bytes]
    http: httpx.Client
    database: Database

    def submit(self, goal: str, inputs: dict[str, Any] | None = None, partition: str = "bench") -> str:
        """Submit an intent and start its run; returns the workflow id."""
        answer = self.http.post("/intents", json={"goal": goal, "inputs": inputs or {}, "constraints": {}})
        workflow_id = str(_ok(answer)["intentId"])
        body = {"recipeName": "sandbox-default", "queuePartitionKey": partition}
        _ok(self.http.post(f"/intents/{workflow_id}/run", json=body))
        return workflow_id

    def approve(self, workflow_id: str) -> None:
        """Approve a run's plan."""
        _ok(self.http.post(f"/runs/{workflow_id}/approve-plan", json={"approvedBy": "bench"}))

    def wait_for(self, workflow_ids: list[str], status: str, timeout: float, tick: Callable[[int], None]) -> None:
        """Wait until every run has this status; `tick` gets how many do. Raises BenchFailed."""
        deadline = time.monotonic() + timeout
        while True:
            counts = self.statuses(workflow_ids)
            tick(counts.get(status, 0))
            if counts.get(status, 0) == len(workflow_ids):
                return
            ended = {"failed", "retries_exceeded", "canceled"} & counts.keys() - {status}
            if ended or time.monotonic() > deadline or self.process.poll() is not None:
                raise BenchFailed(
                    f"expected {len(workflow_ids)} runs {status}, have {counts}; logs: {self.settings.logs}"
                )
            time.sleep(0.05)

    def statuses(self, workflow_ids: list[str]) -> dict[str, int]:
        """How many of the runs are in each state."""
        rows = self.rows("bench.statuses", workflow_ids=workflow_ids)
        return {row["status"]: row["count"] for row in rows}

    def rows(self, statement: str, **parameters: Any) -> list[dict[str, Any]]:
        """The rows of a named statement."""
        with self.database.connect() as connection:
            return connection.execute(query(statement), parameters).fetchall()

    def cpu_seconds(self) -> Figures:
        """CPU seconds used so far, by component, children that have ended included."""
        used = {name: sum(_cpu(process) for process in group) for name, group in self._groups().items()}
        return used | {"postgres": sum(_cpu(process) for process in self._postgres())}

    def memory_mb(self) -> Figures:
        """Memory in MiB by component: each process's own share (PSS), so that forked pages count once."""
        used = {name: sum(_memory(process) for process in group) for name, group in self._groups().items()}
        return used | {"postgres": sum(_memory(process) for process in self._postgres())}

    def processes_and_threads(self) -> tuple[int, int]:
        """How many processes and threads the stack has, Postgres apart."""
        members = [process for group in self._groups().values() for process in group]
        return len(members), sum(process.num_threads() for process in members)

    def _groups(self) -> dict[str, list[psutil.Process]]:
        groups: dict[str, list[psutil.Process]] = {name: [] for name in COMPONENTS}
        for child in psutil.Process(self.process.pid).children():
            line = " ".join(child.cmdline())
            for name, mark in COMPONENTS.items():
                if mark in line:
                    groups[name] += [child, *child.children(recursive=True)]
        return groups

    def _postgres(self) -> list[psutil.Process]:
        pid_file = self.settings.home / "postgres" / "postmaster.pid"
        postmaster = psutil.Process(int(pid_file.read_text().split()[0]))
        return [postmaster, *postmaster.children(recursive=True)]


@contextmanager
def stage(*, workers: int, profile: str = "warm", environment: dict[str, str] | None = None) -> Iterator[Stage]:
    """A fresh stack in a temporary folder, stopped and removed at the end."""
    with tempfile.TemporaryDirectory(prefix="sisu-bench-", ignore_cleanup_errors=True) as folder:
        # The embedded Postgres runs as a user of its own when we are root.
        Path(folder).chmod(0o755)
        own = {
            "SISU_HOME": folder,
            "PORT": str(_free_port()),
            "ADMIN_PORT": str(_free_port()),
            "SISU_PROFILE": profile,
            "SBX_MODE": "mock",
            **NO_LIMITS,
            **(environment or {}),
        }
        settings = load_settings(own)
        command = [sys.executable, "-m", "sisu_pipeline.cli", "start", "--workers", str(workers)]
        log_file = Path(folder) / "start.log"
        with log_file.open("wb") as log:
            variables = child_environment(**own)
            variables.pop("DATABASE_URL", None)
            process = subprocess.Popen(
                command, cwd=PROJECT_ROOT, env=variables, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{settings.port}", timeout=30) as http:
                _await_start(process, log_file)
                yield Stage(settings, process, http, locate(settings))
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await_start(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while "Dagster " not in log.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            raise BenchFailed(f"the stack did not start: {log.read_text()[-2000:]}")
        time.sleep(0.1)


def _ok(answer: httpx.Response) -> dict[str, Any]:
    if answer.status_code >= 300:
        raise BenchFailed(f"{answer.request.url}: {answer.status_code} {answer.text[:500]}")
    body: dict[str, Any] = answer.json()
    return body


def _cpu(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def _memory(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().pss) / 2**20
    except psutil.Error:
        return 0.0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
