"""A stack for one lab: `sisu start` as a process, on free ports, with its own data folder."""

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from sisu_pipeline.domain.operator_errors import OperatorError
from sisu_pipeline.settings import PROJECT_ROOT, Settings, child_environment, load_settings
from sisu_pipeline.supervisor.child_processes import die_with_parent

START_TIMEOUT_S = 150.0
STOP_TIMEOUT_S = 15.0
_POLL_INTERVAL_S = 0.1
# Removed from the caller's environment unless the lab sets them: a lab has its own server and settings.
_UNSET = ("DATABASE_URL", "SISU_PROFILE", "DBOS__APPVERSION", "SISU_CRASH_AT")


class LabFailed(OperatorError):
    """A lab or a measurement failed; the message states the violated expectation."""

    code = "lab"


@dataclass
class LabStack:
    """The supervisor process of a stack: its settings and addresses; starts, stops and kills it."""

    settings: Settings
    command: tuple[str, ...]
    environment: dict[str, str]
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """Base URL of the API."""
        return f"http://127.0.0.1:{self.settings.port}"

    @property
    def admin_url(self) -> str:
        """Base URL of Dagster's UI."""
        return f"http://127.0.0.1:{self.settings.admin_port}"

    @property
    def log(self) -> Path:
        """File with the output of `sisu start`."""
        return self.settings.home / "start.log"

    @property
    def pid(self) -> int:
        """Process id of the supervisor. Raises LabFailed before the first start."""
        if self._process is None:
            raise LabFailed("the stack was not started")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the supervisor is alive."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the stack and wait until it is ready. Raises LabFailed."""
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                self.command,
                cwd=PROJECT_ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # The lab handles Ctrl-C on the terminal and stops the stack itself.
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        self._wait_until_ready(self._process)

    def stop(self) -> float:
        """Stop the stack as Ctrl-C does; returns the seconds it took.

        Raises LabFailed when it has to be killed or leaves a process behind.
        """
        if self._process is None or self._process.poll() is not None:
            return 0.0
        began = time.monotonic()
        family = psutil.Process(self._process.pid).children(recursive=True)
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise LabFailed(f"the stack did not stop within {STOP_TIMEOUT_S:.0f} s") from None
        took = time.monotonic() - began
        _, left = psutil.wait_procs(family, timeout=1)
        if left:
            raise LabFailed(f"the stack left processes behind: {', '.join(map(str, left))}")
        return took

    def kill(self) -> None:
        """SIGKILL the supervisor; its children exit when they notice."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the line with Dagster's URL: `sisu start` prints it once everything is up."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not re.search(rb"^Dagster +http", self.log.read_bytes(), re.MULTILINE):
            if process.poll() is not None:
                raise LabFailed(f"the stack did not start: {self.log.read_text().strip()[-2000:]}")
            if time.monotonic() > deadline:
                raise LabFailed(f"the stack is not ready after {START_TIMEOUT_S:.0f} s; log: {self.log}")
            time.sleep(_POLL_INTERVAL_S)


@contextmanager
def lab_stack(
    home: Path, variables: Mapping[str, str], *, workers: int = 2, sandbox_workers: int = 1
) -> Iterator[LabStack]:
    """Start a stack with these variables and its data in `home`; stop it at the end. Raises LabFailed."""
    port, admin_port = free_ports(2)
    given = {"SISU_HOME": str(home), "PORT": str(port), "ADMIN_PORT": str(admin_port), **variables}
    environment = child_environment(**given)
    for name in _UNSET:
        if name not in variables:
            environment.pop(name, None)
    home.mkdir(parents=True, exist_ok=True)
    counts = ("--workers", str(workers), "--sandbox-workers", str(sandbox_workers))
    stack = LabStack(
        load_settings(given), (sys.executable, "-m", "sisu_pipeline.cli", "start", *counts), environment
    )
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


def free_ports(count: int) -> list[int]:
    """Loopback ports that are not in use."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports
