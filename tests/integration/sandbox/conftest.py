"""The providers, opened once per session, and a way to wait for a condition."""

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from resources.sandbox.e2b.e2b_settings import E2bSettings
from resources.sandbox.local.local_provider import LocalSandbox
from resources.sandbox.local.sandbox_host import LocalSettings
from resources.sandbox.local.self_test import open_local
from resources.sandbox.sandbox_port import ChunkSink, TaskContext
from sisu_pipeline.contracts.sandbox_request import SandboxResult
from tests.support.e2b import client as e2b_client
from tests.support.e2b.client import E2bServer
from tests.support.e2b.server import API_KEY
from tests.unit.sandbox.requests import a_context, a_request, ignore

RunLocal = Callable[..., SandboxResult]


def local_settings(home: Path, **others: Any) -> LocalSettings:
    """Settings with their own home and uids apart from those of a running system."""
    return LocalSettings(
        **{
            "home": home,
            "runtime": Path("/run/sisu-sandbox-tests"),
            "uid_first": 57_000,
            "uid_count": 64,
            "disk_mb": 32,
            **others,
        }
    )


@pytest.fixture(scope="session")
def local() -> Iterator[LocalSandbox]:
    """The local provider. Its home is closed to every other uid, as a home below /root would be."""
    with tempfile.TemporaryDirectory(prefix="sisu-") as folder:
        Path(folder).chmod(0o711)
        home = Path(folder) / "private" / "sandbox"
        home.parent.mkdir(mode=0o700)
        sandbox = open_local(local_settings(home, runtime=Path(folder) / "run"))
        yield sandbox
        asyncio.run(sandbox.close())


@pytest.fixture(scope="session")
def e2b_process() -> Iterator[E2bServer]:
    """A server that speaks E2B's protocol, in a process of its own."""
    with e2b_client.running() as server:
        yield server


@pytest.fixture
def e2b_server(e2b_process: E2bServer) -> E2bServer:
    """The same with no faults and no sandboxes."""
    e2b_process.reset()
    return e2b_process


def e2b_settings(server: E2bServer, **others: Any) -> E2bSettings:
    """Settings for the test server: no limits of our own, quick checks."""
    return E2bSettings(
        **{
            "api_key": API_KEY,
            "deployment": "tests",
            "api_url": server.url,
            "sandbox_url": server.url,
            "concurrency": 1000,
            "creates_per_second": 1000.0,
            "check_s": 0.5,
            **others,
        }
    )


@pytest.fixture
def run_local(local: LocalSandbox) -> RunLocal:
    """Run a command to its end: `run_local("true", timeout_ms=1000)`."""

    def run(
        cmd: str, *, context: TaskContext | None = None, on_chunk: ChunkSink = ignore, **fields: Any
    ) -> SandboxResult:
        return asyncio.run(local.run(a_request(cmd, **fields), context or a_context(), on_chunk))

    return run


def eventually(holds: Callable[[], bool], seconds: float = 15) -> bool:
    """Whether `holds` becomes true in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def processes_with(mark: str) -> list[int]:
    """The pids whose command line holds `mark`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if mark.encode() in command:
                found.append(int(entry.name))
    return found
