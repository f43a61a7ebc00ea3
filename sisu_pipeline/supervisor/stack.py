"""`sisu start`: supervises the processes of the whole system and restarts those that end."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import FrameType

import psycopg

from resources.database import Database, DatabaseError
from resources.repeated_errors import RepeatedErrors
from sisu_pipeline import database_server
from sisu_pipeline.domain.operator_errors import OperatorError
from sisu_pipeline.settings import PROJECT_ROOT, Settings
from sisu_pipeline.supervisor import child_processes
from sisu_pipeline.supervisor.port_probes import port_accepts, socket_accepts
from sisu_pipeline.supervisor.stack_settings import LOCK
from sisu_pipeline.supervisor.stack_setup import check_providers, prepare, stack_environment

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 7.0
# The longest path of a Unix socket, in bytes.
_LONGEST_SOCKET = 107
# One Ctrl-C may arrive twice: from the terminal, and from the program (make, mise) that runs `sisu start`.
_ONE_CTRL_C_S = 1.0
_POLL_S = 0.05
_ROTATION_CHECK_S = 10.0
_RESTART_PAUSE_S = 0.5
_MAX_START_RESTARTS = 3
"""Restarts of one program while the stack starts: one that ends again and again has a reason that stays."""


class StackError(OperatorError):
    """The stack cannot start. The message names the remedy."""

    code = "stack"


@dataclass(frozen=True)
class Program:
    """One process of the stack: how to start it, when it is ready, and whether it serves people's requests."""

    name: str
    command: tuple[str, ...]
    is_ready: Callable[[], bool] = lambda: True
    serves_people: bool = False


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
    _stop_requested_at: float | None = None
    _stops_database: bool = False
    _held: ExitStack = field(default_factory=ExitStack)
    _next_start: dict[str, float] = field(default_factory=dict)
    _log_starts: dict[str, int] = field(default_factory=dict)

    @cached_property
    def _database_errors(self) -> RepeatedErrors:
        return RepeatedErrors(self.report, "restarting the database")

    def run(self) -> None:
        """Start the stack, supervise it until SIGINT or SIGTERM, and stop it; a second signal kills it."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._request_stop)
        try:
            self.start()
            while not self.stopping:
                self._restart_ended()
                self._rotate_logs()
                time.sleep(_POLL_S)
        finally:
            self.stop()

    def start(self) -> None:
        """Start the database and every program, in order; returns when all are ready.

        A program that ends meanwhile is started again, a few times. Raises StackError, DatabaseError,
        SandboxUnavailable, PlannerUnavailable or ReceiversInvalid.
        """
        self._check_ports()
        self._check_home()
        check_providers(self.settings)
        self._stops_database = self._owns_database()
        self._database = prepare(self.settings)
        self._record_database()
        self.report(f"{'database':<16}ready")
        for program in self.programs():
            if not self.stopping:
                self._spawn(program)
        for program in self.programs():
            self._await(program)
        if not self.stopping:
            self.report(f"API             {self.api_url}   (OpenAPI at /docs)")
            self.report(f"Dagster         http://127.0.0.1:{self.settings.admin_port}")

    def stop(self) -> None:
        """Stop every program within ten seconds, the sources of work first and the database last."""
        self.stopping = True
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for process in self.running.values():
            if process.poll() is None:
                process.terminate()
        # The code server waits for open calls, such as the tick of a listening sensor, which would take too long.
        for name, process in self.running.items():
            timeout = 1.0 if name == "code-server" else deadline - time.monotonic()
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(timeout, 0.1))
            # Its children are killed too: a code server that is killed leaves one behind.
            child_processes.kill_group(process)
            process.wait()
        self.running.clear()
        if self._stops_database and database_server.is_running(self.settings):
            database_server.down(self.settings)
        self._database_record.unlink(missing_ok=True)
        self._database = None
        self._held.close()

    @property
    def api_url(self) -> str:
        """The URL of the API."""
        return f"http://127.0.0.1:{self.settings.port}"

    def environment(self, program: str) -> dict[str, str]:
        """The environment of a program, without the secrets that only other programs read."""
        assert self._database is not None
        return stack_environment(self.settings, self._database, program)

    def programs(self) -> list[Program]:
        """The programs of the stack, in the order they are started."""
        python = sys.executable
        port, admin = self.settings.port, self.settings.admin_port
        programs = [
            Program(
                "code-server",
                (python, "-m", "sisu_pipeline.supervisor.code_server"),
                lambda: socket_accepts(self.settings.code_socket),
            ),
            Program(
                "api", (python, "-m", "sisu_pipeline.api.server"), lambda: port_accepts(port), serves_people=True
            ),
            Program("daemon", (python, "-m", "sisu_pipeline.engine.sensor_daemon")),
            Program(
                "webserver",
                (python, "-m", "sisu_pipeline.dagster_web"),
                lambda: port_accepts(admin),
                serves_people=True,
            ),
        ]
        if self.settings.sisu_profile == "warm":
            worker = (python, "-m", "sisu_pipeline.worker", "--queue")
            programs += [
                Program("intent-worker", (*worker, "intentQ", "--processes", str(self.intent_workers))),
                Program("sandbox-worker", (*worker, "sbxQ", "--processes", str(self.sandbox_workers))),
            ]
        if self.settings.asks_agent:
            programs.append(
                Program("planner-worker", (python, "-m", "sisu_pipeline.worker", "--queue", "compileQ"))
            )
        if self.settings.sisu_notifications is not None:
            programs.append(Program("notifier", (python, "-m", "sisu_pipeline.worker.notifier")))
        return programs

    def _spawn(self, program: Program) -> None:
        if program.name == "code-server":
            # A second server on a socket in use would silently share its traffic with the first one.
            self.settings.code_socket.unlink(missing_ok=True)
        self.settings.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        in_child = child_processes.die_with_parent if program.serves_people else child_processes.run_in_background
        with child_processes.open_log(self._log(program.name)) as log:
            self._log_starts[program.name] = log.seek(0, os.SEEK_END)
            self.running[program.name] = subprocess.Popen(
                program.command,
                cwd=PROJECT_ROOT,
                env=self.environment(program.name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=in_child,
            )

    def _await(self, program: Program) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not program.is_ready():
            if self.stopping:
                return
            ended = next((name for name, count in self.restarts.items() if count > _MAX_START_RESTARTS), None)
            if ended is not None:
                raise StackError(
                    f"{ended} ended {self.restarts[ended]} times while starting: see {self._log(ended)}."
                )
            self._restart_ended()
            if time.monotonic() > deadline:
                raise StackError(
                    f"{program.name} is not ready after {START_TIMEOUT_S:.0f} s: see {self._log(program.name)}."
                )
            time.sleep(_POLL_S)
        self.report(f"{program.name:<16}ready")

    def _restart_ended(self) -> None:
        now = time.monotonic()
        self._restart_database(now)
        for program in self.programs():
            name, process = program.name, self.running[program.name]
            if process.poll() is None or now < self._next_start.get(name, 0):
                continue
            self._next_start[name] = now + _RESTART_PAUSE_S
            self.restarts[name] = self.restarts.get(name, 0) + 1
            cause = child_processes.cause_of_end(process.returncode, self._log(name), self._log_starts[name])
            self.report(f"{name} ended ({cause}): restarted")
            child_processes.kill_group(process)
            self._spawn(program)

    def _rotate_logs(self) -> None:
        if time.monotonic() >= self._next_start.get("rotation", 0):
            self._next_start["rotation"] = time.monotonic() + _ROTATION_CHECK_S
            for program in self.programs():
                child_processes.rotate_log(self._log(program.name))

    def _restart_database(self, now: float) -> None:
        """Restart the embedded server when it has ended, also when this stack did not start it first."""
        if self.settings.database_url is not None or now < self._next_start.get("database", 0):
            return
        self._next_start["database"] = now + _RESTART_PAUSE_S
        if not database_server.is_running(self.settings):
            self.restarts["database"] = self.restarts.get("database", 0) + 1
            # Retried until it succeeds: processes of a killed server may have to end first, or the disk is full.
            with self._database_errors.tolerated(DatabaseError, psycopg.Error, subprocess.SubprocessError, OSError):
                database_server.up(self.settings)
                self._record_database()
                self.report("database ended: restarted")

    @property
    def _database_record(self) -> Path:
        """The process id of the server that a stack started: the next stack stops it if this one is killed."""
        return self.settings.home / "stack.database"

    def _owns_database(self) -> bool:
        """Whether this stack stops the server when it ends: not one that ran before (`sisu db up`)."""
        if self.settings.database_url is not None:
            return False
        running = database_server.server_pid(self.settings)
        with suppress(FileNotFoundError):
            return running is None or self._database_record.read_text() == str(running)
        return running is None

    def _record_database(self) -> None:
        if self._stops_database:
            self._database_record.write_text(str(database_server.server_pid(self.settings)))

    def _log(self, name: str) -> Path:
        return self.settings.logs / f"{name}.log"

    def _check_ports(self) -> None:
        for name, port in (("PORT", self.settings.port), ("ADMIN_PORT", self.settings.admin_port)):
            if port_accepts(port):
                raise StackError(f"{name}={port} is in use: stop the program that uses it, or set another {name}.")

    def _check_home(self) -> None:
        """Refuse a second stack on one data folder: it would take the code server's socket from the first."""
        home, socket_path = self.settings.home, self.settings.code_socket
        if len(os.fsencode(socket_path)) > _LONGEST_SOCKET:
            raise StackError(f"the path {home} is too long for a Unix socket: set SISU_HOME to a shorter one.")
        home.mkdir(parents=True, exist_ok=True)
        lock = self._held.enter_context((home / LOCK).open("a"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # released when the file is closed
        except BlockingIOError:
            raise StackError(f"a stack is already running on {home}: stop it, or set another SISU_HOME.") from None
        # `sisu doctor` reads the settings of this process.
        (home / LOCK).write_text(str(os.getpid()))

    def _request_stop(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._stop_requested_at is None:
            self._stop_requested_at = now
            self.report("stopping (send the signal again to kill)")
        elif now - self._stop_requested_at > _ONE_CTRL_C_S:
            self.report("killing")
            for process in list(self.running.values()):
                child_processes.kill_group(process)
        self.stopping = True
