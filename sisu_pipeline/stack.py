"""`sisu start`: the whole system as processes of one parent; one that dies is started again (design §6)."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from resources import database
from resources.database import Database
from sisu_pipeline.settings import PROJECT_ROOT, Settings, child_environment

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 9.0
_PAUSE_S = 0.05
_RESTART_PAUSE_S = 0.5
_PR_SET_PDEATHSIG = 1


class StackError(Exception):
    """The stack cannot start; the message tells the operator what to do."""


@dataclass(frozen=True)
class Program:
    """One process of the stack: how to start it, and when it is ready."""

    name: str
    command: tuple[str, ...]
    is_ready: Callable[[], bool] = lambda: True


@dataclass
class Stack:
    """The processes of `sisu start`."""

    settings: Settings
    intent_workers: int
    sandbox_workers: int = 1
    report: Callable[[str], None] = print
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    stopping: bool = False
    _database: Database | None = None
    _next_start: dict[str, float] = field(default_factory=dict)

    def run(self) -> None:
        """Start everything, keep it running until SIGINT or SIGTERM, stop everything."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask_to_stop)
        try:
            self.start()
            while not self.stopping:
                self._revive()
                time.sleep(_PAUSE_S)
        finally:
            self.stop()

    def start(self) -> None:
        """Bring up the database and every program, in order; returns when all are ready."""
        self._check_ports()
        self._database = prepare(self.settings)
        for program in self.programs():
            self._spawn(program)
        for program in self.programs():
            self._await(program)
        self.report(f"API        {self.api_url}   (inbox, OpenAPI at /docs)")
        self.report(f"Dagster    http://127.0.0.1:{self.settings.admin_port}")

    def stop(self) -> None:
        """Stop every program within ten seconds, the sources of work first, the database last."""
        self.stopping = True
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for process in self.running.values():
            if process.poll() is None:
                process.terminate()
        # The code server waits for open calls (a listening tick): it is not worth waiting for.
        for name, process in self.running.items():
            patience = 1.0 if name == "code-server" else deadline - time.monotonic()
            try:
                process.wait(max(patience, 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.running.clear()
        if self.settings.database_url is None and self._database is not None:
            database.down(self.settings)
            self._database = None

    @property
    def api_url(self) -> str:
        """Where the API answers."""
        return f"http://127.0.0.1:{self.settings.port}"

    def environment(self) -> dict[str, str]:
        """The environment every program gets."""
        assert self._database is not None
        return stack_environment(self.settings, self._database)

    def programs(self) -> list[Program]:
        """What runs, in starting order."""
        python = sys.executable
        port, admin = self.settings.port, self.settings.admin_port
        programs = [
            Program(
                "code-server",
                (
                    *(python, "-m", "dagster", "api", "grpc", "-m", "sisu_pipeline.definitions"),
                    *("--socket", str(self.settings.code_socket), "--location-name", "sisu_pipeline"),
                ),
                lambda: _answers(self.settings.code_socket),
            ),
            Program("api", (python, "-m", "sisu_pipeline.api.server"), lambda: _listens(port)),
            Program("daemon", (python, "-m", "sisu_pipeline.daemon")),
            Program(
                "webserver",
                (
                    *(python, "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(admin)),
                    *("-w", str(PROJECT_ROOT / "workspace.yaml")),
                ),
                lambda: _listens(admin),
            ),
        ]
        if self.settings.sisu_profile == "warm":
            worker = (python, "-m", "sisu_pipeline.worker", "--queue")
            programs += [
                Program("intent-worker", (*worker, "intentQ", "--processes", str(self.intent_workers))),
                Program("sandbox-worker", (*worker, "sbxQ", "--processes", str(self.sandbox_workers))),
            ]
        return programs

    def _spawn(self, program: Program) -> None:
        if program.name == "code-server":
            # A second server on a live socket would share its traffic with the old one, silently.
            self.settings.code_socket.unlink(missing_ok=True)
        self.settings.logs.mkdir(parents=True, exist_ok=True)
        with (self.settings.logs / f"{program.name}.log").open("ab") as log:
            self.running[program.name] = subprocess.Popen(
                program.command,
                cwd=PROJECT_ROOT,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    def _await(self, program: Program) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not program.is_ready():
            if self.stopping:
                return
            if self.running[program.name].poll() is not None:
                raise StackError(f"{program.name} ended at start: read {self._log(program.name)}.")
            if time.monotonic() > deadline:
                raise StackError(f"{program.name} is not ready after {START_TIMEOUT_S:.0f} s: read its log.")
            time.sleep(_PAUSE_S)

    def _revive(self) -> None:
        now = time.monotonic()
        for program in self.programs():
            process = self.running[program.name]
            if process.poll() is None or now < self._next_start.get(program.name, 0):
                continue
            self._next_start[program.name] = now + _RESTART_PAUSE_S
            self.restarts[program.name] = self.restarts.get(program.name, 0) + 1
            self.report(f"{program.name} ended (exit {process.returncode}): started again")
            self._spawn(program)

    def _log(self, name: str) -> Path:
        return self.settings.logs / f"{name}.log"

    def _check_ports(self) -> None:
        for name, port in (("PORT", self.settings.port), ("ADMIN_PORT", self.settings.admin_port)):
            if _listens(port):
                raise StackError(f"{name}={port} is in use: stop what listens there, or set another {name}.")

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True


def prepare(settings: Settings) -> Database:
    """The database up, with every schema in it: ours, DBOS' and Dagster's."""
    from sisu_pipeline import queues
    from sisu_pipeline.storage import PooledPostgresStorage

    found = database.up(settings)
    queues.migrate(found)
    PooledPostgresStorage(found.dagster_url, should_autocreate_tables=True)
    return found


def stack_environment(settings: Settings, found: Database) -> dict[str, str]:
    """What a process of this stack needs to find it: the database, the instance, the code server."""
    return child_environment(
        SISU_HOME=str(settings.home),
        PORT=str(settings.port),
        ADMIN_PORT=str(settings.admin_port),
        SISU_PROFILE=settings.sisu_profile,
        DATABASE_URL=found.url,
        DAGSTER_HOME=str(settings.dagster_home),
        DAGSTER_POSTGRES_URL=found.dagster_url,
        DAGSTER_LOCAL_STORAGE=str(settings.home / "dagster"),
        DAGSTER_CODE_SOCKET=str(settings.code_socket),
        PYTHONUNBUFFERED="1",
    )


def _die_with_parent() -> None:
    """In the child, before exec: end when the supervisor is killed, so that nothing is left behind."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    os.umask(0o077)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(0.2)
        try:
            return probe.connect_ex(str(path)) == 0
        except OSError:
            return False
