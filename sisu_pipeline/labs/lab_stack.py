"""A stack of a lab's own: `sisu start` as a process, on free ports, with its own data folder."""

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sisu_pipeline.settings import Settings, child_environment, load_settings

START_TIMEOUT_S = 150.0
STOP_TIMEOUT_S = 10.0
_PAUSE_S = 0.1
# What a lab decides itself, whatever the caller's environment says: its server is the embedded one.
_UNSET = ("DATABASE_URL", "SISU_PROFILE", "DBOS__APPVERSION")


class LabFailed(Exception):
    """The lab did not show what it promises; the message says what."""


@dataclass(frozen=True)
class LabStack:
    """A running stack: where it answers, its settings, the process that supervises it."""

    url: str
    admin_url: str
    settings: Settings
    process: subprocess.Popen[bytes]


@contextmanager
def lab_stack(home: Path, *, workers: int = 2, **variables: str) -> Iterator[LabStack]:
    """Start a stack with these environment variables, and stop it as Ctrl-C does. Raises LabFailed."""
    port, admin_port = free_ports(2)
    given = {"SISU_HOME": str(home), "PORT": str(port), "ADMIN_PORT": str(admin_port), **variables}
    environment = child_environment(**given)
    for name in _UNSET:
        if name not in variables:
            environment.pop(name, None)
    home.mkdir(parents=True, exist_ok=True)
    log = home / "start.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "sisu_pipeline.cli", "start", "--workers", str(workers)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    url, admin_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin_port}"
    try:
        _until_ready(process, log)
        yield LabStack(url, admin_url, load_settings(given), process)
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> float:
    """Stop a supervisor as Ctrl-C does; returns the seconds it took. Raises LabFailed when it has to be killed."""
    began = time.monotonic()
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise LabFailed(f"the stack did not stop within {STOP_TIMEOUT_S:.0f} s") from None
    return time.monotonic() - began


def free_ports(count: int) -> list[int]:
    """Loopback ports nobody listens on."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def _until_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    """Until `sisu start` has said where the API is; it says so when everything is up."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not re.search(rb"^Dagster +http", log.read_bytes(), re.MULTILINE):
        if process.poll() is not None:
            raise LabFailed(f"the stack did not start: {log.read_text().strip()}")
        if time.monotonic() > deadline:
            raise LabFailed(f"the stack is not ready after {START_TIMEOUT_S:.0f} s: read {log}")
        time.sleep(_PAUSE_S)
