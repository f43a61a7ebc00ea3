"""Memory and disk limits hold against memory and files that no process's size shows."""

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from resources.sandbox.local.local_provider import LocalSandbox
from resources.sandbox.local.self_test import open_local
from resources.sandbox.local.user_slots import UidPool
from resources.sandbox.sandbox_port import SandboxUnavailable
from sisu_pipeline.contracts.sandbox_request import ErrorCode, FileIn, Limits, SandboxResult
from tests.integration.sandbox.conftest import RunLocal, eventually, local_settings
from tests.unit.sandbox.requests import a_context, a_request, ignore

_SHARED = """
import mmap
kept = []
for _ in range(400):
    area = mmap.mmap(-1, 4 << 20, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
    for page in range(0, len(area), 4096):
        area[page] = 1
    area.madvise(mmap.MADV_DONTNEED)
    kept.append(area)
"""
_PAGE_TABLES = """
import mmap
kept = []
for _ in range(40):
    area = mmap.mmap(-1, 16 << 30, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, mmap.PROT_READ)
    for place in range(0, len(area), 2 << 20):
        area[place]
    kept.append(area)
"""
_FOLDERS = """
import os
for number in range(48_000):
    if number % 400 == 0:
        os.makedirs(f"d{number}")
        where = f"d{number}"
    os.mkdir(f"{where}/{'n' * 200}{number}")
"""
_MANY_DESCRIPTORS = """
import os, time
for child in range(120):
    if os.fork() == 0:
        file = os.open("x", os.O_RDWR | os.O_CREAT)
        for _ in range(990):
            os.dup(file)
        time.sleep(60)
with open("big", "wb") as file:
    for _ in range(4000):
        file.write(b"x" * (1 << 20))
"""


def python(run_local: RunLocal, program: str, **fields: object) -> object:
    files = (FileIn(path="p.py", inline=program),)
    return run_local("exec python3 -I -S p.py", files_in=files, timeout_ms=60_000, **fields)


@pytest.mark.parametrize(
    ("call", "arguments"),
    [("memfd_create", "b'x', 0"), ("shmget", "0, 1 << 30, 0o1600")],
)
def test_memory_that_belongs_to_no_process_cannot_be_had(run_local: RunLocal, call: str, arguments: str) -> None:
    program = f"import ctypes; print(ctypes.CDLL(None).{call}({arguments}))"
    result = run_local(f'exec python3 -I -S -c "{program}"')
    assert result.stdout.strip() == "-1"


@pytest.mark.parametrize("program", [_SHARED, _PAGE_TABLES], ids=["shared", "page tables"])
def test_memory_that_no_size_shows_counts(run_local: RunLocal, program: str) -> None:
    result = python(run_local, program, limits=Limits(mem_mb=128))
    assert result.err_code is ErrorCode.OOM, result  # type: ignore[attr-defined]


@pytest.mark.slow
def test_folders_count_as_disk(run_local: RunLocal) -> None:
    result = python(run_local, _FOLDERS)
    assert result.err_code is ErrorCode.CMD_NONZERO  # type: ignore[attr-defined]
    assert result.raw["killedBy"] == "disk"  # type: ignore[attr-defined]


def test_caches_in_home_have_the_room_of_the_disk_and_are_no_outputs(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    sandbox = open_local(local_settings(tmp_path / "sandbox", disk_mb=256))
    command = "head -c 80M /dev/zero > $HOME/cache && wc -c < $HOME/cache"
    result = asyncio.run(ended(sandbox, command))
    assert (result.err_code, result.stdout.strip()) == (ErrorCode.NONE, str(80 << 20))
    assert result.files_out == ()


async def ended(sandbox: LocalSandbox, command: str) -> SandboxResult:
    """The result of a command, after which the provider is closed."""
    try:
        return await sandbox.run(a_request(command), a_context(), ignore)
    finally:
        await sandbox.close()


def test_home_and_the_working_folder_share_the_disk(run_local: RunLocal) -> None:
    half = "head -c 300M /dev/zero >"
    result = run_local(f"{half} $HOME/a; {half} b; sleep 20")
    assert (result.err_code, result.raw and result.raw["killedBy"]) == (ErrorCode.CMD_NONZERO, "disk")


def test_a_watch_that_is_slowed_down_still_stops_the_command(run_local: RunLocal) -> None:
    result = python(run_local, _MANY_DESCRIPTORS, limits=Limits(mem_mb=2048))
    assert result.raw["killedBy"] == "disk"  # type: ignore[attr-defined]
    assert result.metrics.wall_ms < 20_000  # type: ignore[attr-defined]


def test_the_first_process_inside_is_out_of_reach(run_local: RunLocal) -> None:
    result = run_local("ls /proc/1; cat /proc/1/mem | head -c 1; ps ax >/dev/null && echo works")
    assert result.stdout == "works\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give every sandbox a uid")
def test_a_uid_is_never_leased_while_a_process_has_it(tmp_path: Path) -> None:
    uid = 57_900
    left = subprocess.Popen(["sleep", "600"], user=uid, group=uid)
    try:
        pool = UidPool(tmp_path, uid, 1)
        leased, lock = pool._try_lease()
        assert leased == uid
        assert lock is not None
        os.close(lock)
        assert eventually(lambda: left.poll() is not None)
    finally:
        left.kill()
        left.wait()


def test_a_limit_that_only_a_watchdog_enforces_can_be_refused(tmp_path: Path) -> None:
    settings = local_settings(tmp_path / "sandbox", hard_limits=frozenset({"disk", "processes"}))
    with pytest.raises(SandboxUnavailable, match=r"here: disk \(watchdog\); run the worker"):
        open_local(settings)


def test_the_provider_names_the_limits_that_the_kernel_does_not_enforce(local: LocalSandbox) -> None:
    detail = asyncio.run(local.health()).detail
    named = str(detail["limitsNotEnforcedByKernel"]).split(", ")
    assert "disk" in named
    assert "processes" not in named
    assert ("memory" in named) == (detail["memoryLimit"] == "watchdog")
