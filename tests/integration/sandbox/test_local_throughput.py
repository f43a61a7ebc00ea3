"""100 intents' worth of 20 tasks through the local provider: how fast, and nothing left behind."""

import asyncio
import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.sandbox.local.sandbox_host import LocalSettings
from resources.sandbox.local.self_test import open_local
from resources.sandbox.sandbox_port import TaskContext
from sisu_pipeline.contracts.sandbox_request import ErrorCode
from tests.integration.sandbox.conftest import local_settings, processes_with
from tests.unit.sandbox.requests import a_request, ignore

UID_FIRST, UID_COUNT = 57_200, 32
AT_ONCE = 16
COMMAND = "python3 -I -S -c 'print(1)'"


def run_all(settings: LocalSettings, runs: int, tasks: int) -> tuple[float, str]:
    """Every task to its end; seconds, and the mark the provider's processes carry."""

    async def story() -> tuple[float, str]:
        sandbox = open_local(settings)
        limit = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> ErrorCode:
            key = f"{number:064x}"
            async with limit:
                request = a_request(COMMAND, task_key=key)
                context = TaskContext(f"run_{number // tasks}", "ExecuteST", 1, key)
                return (await sandbox.run(request, context, ignore)).err_code

        began = time.monotonic()
        codes = await asyncio.gather(*map(one, range(runs * tasks)))
        seconds = time.monotonic() - began
        await sandbox.close()
        assert set(codes) == {ErrorCode.NONE}
        return seconds, f"sisu-sandbox-{sandbox._host.instance.boxes.name}"

    return asyncio.run(story())


def plain_seconds(count: int) -> float:
    """The same commands as plain processes, as many at once."""

    async def story() -> float:
        limit = asyncio.Semaphore(AT_ONCE)

        async def one() -> None:
            async with limit:
                process = await asyncio.create_subprocess_shell(COMMAND, stdout=subprocess.PIPE)
                await process.communicate()

        began = time.monotonic()
        await asyncio.gather(*(one() for _ in range(count)))
        return time.monotonic() - began

    return asyncio.run(story())


def owners() -> Iterator[int]:
    """The uid of every process of the machine."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield entry.stat().st_uid
            except FileNotFoundError:
                continue


def locked(folder: Path) -> list[str]:
    """The uids of the pool that somebody still holds."""
    held = []
    for file in folder.iterdir():
        with file.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.append(file.name)
    return held


def check(tmp_path: Path, runs: int, tasks: int) -> str:
    mounts = Path("/proc/self/mountinfo").read_text()
    tmp_path.chmod(0o711)
    home, runtime = tmp_path / "home", tmp_path / "run"
    settings = local_settings(home, runtime=runtime, uid_first=UID_FIRST, uid_count=UID_COUNT)
    seconds, mark = run_all(settings, runs, tasks)
    assert processes_with(mark) == []
    assert list((home / "boxes").iterdir()) == []
    assert Path("/proc/self/mountinfo").read_text() == mounts
    if os.getuid() == 0:
        assert [uid for uid in owners() if UID_FIRST <= uid < UID_FIRST + UID_COUNT] == []
        assert [name for folder in runtime.rglob("*") if folder.is_dir() for name in locked(folder)] == []
    count = runs * tasks
    plain = plain_seconds(count)
    return f"{count} tasks, {AT_ONCE} at once: {count / seconds:.0f}/s in sandboxes, {count / plain:.0f}/s plain"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder other uids can pass through: pytest's own parents are closed to them."""
    for parent in (tmp_path, *tmp_path.parents):
        if parent == Path("/tmp"):
            break
        parent.chmod(0o711)
    return tmp_path


def test_two_runs_leave_nothing(folder: Path) -> None:
    check(folder, runs=2, tasks=20)


@pytest.mark.slow
def test_a_hundred_runs_of_twenty_tasks_leave_nothing(folder: Path) -> None:
    print(check(folder, runs=100, tasks=20))
