"""A local provider for tests of setups, and tasks with a setup."""

import asyncio
import base64
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from resources.sandbox.local.local_provider import LocalSandbox
from resources.sandbox.local.self_test import open_local
from resources.sandbox.sandbox_port import TaskContext
from sisu_pipeline.contracts.planned_work import PlannedSetup
from sisu_pipeline.contracts.sandbox_request import BINARY_URI, FileIn, SandboxRequest, SandboxResult
from sisu_pipeline.domain.changes.declared_setup import SetupOrder
from tests.integration.sandbox.conftest import local_settings
from tests.unit.sandbox.requests import a_request, ignore

LOCK = {"lock.txt": "one\n"}


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A data folder, which a sandbox's uid passes through."""
    with tempfile.TemporaryDirectory(prefix="sisu-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def open_sandbox(home: Path, **settings: Any) -> LocalSandbox:
    """A provider on a data folder."""
    return open_local(local_settings(home / "sandbox", runtime=home / "run", **settings))


@pytest.fixture(scope="module")
def sandbox(home: Path) -> Iterator[LocalSandbox]:
    """The provider of a module's tests."""
    sandbox = open_sandbox(home)
    assert sandbox._host.can_layer, "this machine's kernel mounts overlays in user namespaces"
    yield sandbox
    asyncio.run(sandbox.close())
    assert list((home / "sandbox" / "boxes").iterdir()) == []


def a_setup(command: str, lock_files: Sequence[str] = ("lock.txt",), **fields: Any) -> PlannedSetup:
    """A planned setup with small limits."""
    limits = {"timeout_ms": 60_000, "cpu": 1, "mem_mb": 1024, "disk_mb": 256, "hosts": []}
    return PlannedSetup(command=command, lock_files=[*lock_files], provider="local", **{**limits, **fields})


def _files(files: Mapping[str, str | bytes]) -> tuple[FileIn, ...]:
    return tuple(
        FileIn(path=path, inline=content)
        if isinstance(content, str)
        else FileIn(path=path, uri=BINARY_URI + base64.b64encode(content).decode())
        for path, content in files.items()
    )


def a_task(
    setup: PlannedSetup,
    cmd: str,
    files: Mapping[str, str | bytes] = LOCK,
    *,
    tenant: str | None = None,
    run: str = "run_1",
    key: str = "k",
) -> tuple[SandboxRequest, TaskContext]:
    """A task with a setup, and its context."""
    order = SetupOrder(setup, tenant)
    request = a_request(cmd, setup=order.sha256, files_in=_files(files), task_key=f"{run}-{key}", timeout_ms=60_000)
    return request, TaskContext(run, "ExecuteST", 1, None, order)


def run_task(sandbox: LocalSandbox, *task: Any, **fields: Any) -> SandboxResult:
    """Run a task with a setup to its end."""
    return asyncio.run(sandbox.run(*a_task(*task, **fields), ignore))


def outcome_of(result: SandboxResult) -> str:
    """How a task found its setup."""
    assert result.raw is not None
    return str(result.raw["setup"]["outcome"])
