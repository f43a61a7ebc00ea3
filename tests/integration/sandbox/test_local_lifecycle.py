"""The local provider over its life: refusing to start, crashing, sharing a machine, running without root."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from resources.sandbox.local import self_test
from resources.sandbox.local.host_instance import Instance
from resources.sandbox.local.local_provider import LocalSandbox
from resources.sandbox.local.self_test import open_local
from resources.sandbox.local.user_slots import UidPool
from resources.sandbox.sandbox_port import SandboxUnavailable
from sisu_pipeline.contracts.sandbox_request import ErrorCode
from tests.integration.sandbox.conftest import RunLocal, eventually, local_settings, processes_with
from tests.unit.sandbox.requests import a_context, a_request, ignore

ROOT = Path(__file__).parents[3]

WORKER = """
import asyncio, sys
from pathlib import Path
from tests.integration.sandbox.conftest import local_settings
from tests.unit.sandbox.requests import a_context, a_request
from resources.sandbox.local.self_test import open_local

sandbox = open_local(local_settings(Path(sys.argv[1])))
request = a_request(sys.argv[2])
result = asyncio.run(sandbox.run(request, a_context(), lambda chunk: print(chunk.chunk, end="", flush=True)))
print(result.err_code.value, flush=True)
asyncio.run(sandbox.close())
"""


@contextmanager
def worker(
    home: Path, cmd: str, python: str = sys.executable, uid: int | None = None
) -> Iterator["subprocess.Popen[str]"]:
    """Another process that runs one command in a local sandbox."""
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    process = subprocess.Popen(
        [python, "-c", WORKER, str(home), cmd],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        user=uid,
        group=uid,
        extra_groups=None if uid is None else [],
        env={"PYTHONPATH": f"{ROOT}:{packages}", "PYTHONDONTWRITEBYTECODE": "1", "PATH": "/usr/bin:/bin"},
    )
    try:
        with process:
            yield process
            process.kill()
    finally:
        process.kill()


def test_a_killed_worker_leaves_nothing(tmp_path: Path) -> None:
    with worker(tmp_path, "setsid sleep 223.606 & echo ready; sleep 223.606") as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "ready\n"
        assert len(processes_with("223.606")) >= 2
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert eventually(lambda: processes_with("223.606") == [])
    boxes = tmp_path / "boxes"
    assert eventually(lambda: processes_with(f'"{boxes}') == [])
    assert len(list(boxes.iterdir())) == 2
    Instance.create(tmp_path).remove()
    assert list(boxes.iterdir()) == []


@pytest.mark.parametrize("swept", [True, False])
def test_a_task_that_died_with_its_worker_says_so_when_it_runs_again(tmp_path: Path, swept: bool) -> None:
    tmp_path.chmod(0o711)
    earlier = None if swept else open_local(local_settings(tmp_path))
    with worker(tmp_path, "echo ready; sleep 60") as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "ready\n"
        killed.kill()
        killed.wait()
    sandbox = earlier or open_local(local_settings(tmp_path))

    async def how() -> str:
        result = await sandbox.run(a_request("true"), a_context(), ignore)
        assert result.raw is not None
        return str(result.raw["sandbox"]["how"])

    starts = [asyncio.run(how())]
    if earlier is not None:  # what is dead is swept by the next provider to open, and then known to all
        Instance.create(tmp_path).remove()
        starts.append(asyncio.run(how()))
    starts.append(asyncio.run(how()))
    asyncio.run(sandbox.close())
    assert starts == ["restarted", "created"] if swept else ["restarted", "restarted", "created"]


def test_the_folder_of_a_living_worker_is_not_swept(tmp_path: Path) -> None:
    living = Instance.create(tmp_path)
    other = Instance.create(tmp_path)
    assert living.boxes.exists()
    other.remove()
    living.remove()


def test_what_does_not_isolate_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_test, "_TRIED", ("ptrace", "clock_settime"))
    monkeypatch.setattr("resources.sandbox.local.sandbox_host.filter_program", lambda: _allow_everything())
    with pytest.raises(SandboxUnavailable, match="ptrace is not denied"):
        open_local(local_settings(tmp_path))
    assert list((tmp_path / "boxes").iterdir()) == []


def test_without_user_namespaces_it_refuses_and_says_where_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2; exit 1\n")
    broken.chmod(0o755)
    tmp_path.chmod(0o755)
    found = type("Found", (), {"path": str(broken), "version": "0.9.0", "copies": {"bwrap": str(broken)}})
    monkeypatch.setattr("resources.sandbox.local.isolation.bwrap.find_bwrap", found)
    with pytest.raises(SandboxUnavailable, match="user namespaces may be switched off"):
        open_local(local_settings(tmp_path / "home"))


@pytest.mark.skipif(os.getuid() != 0, reason="starts a worker as another uid")
def test_it_works_without_root(tmp_path: Path) -> None:
    python = Path("/usr/bin/python3")
    version = f"Python {sys.version_info.major}.{sys.version_info.minor}."
    if not python.exists() or version not in subprocess.run([python, "-V"], capture_output=True, text=True).stdout:
        pytest.skip("no system Python of our version that another uid can run")
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o5 != 0o5 and str(folder).startswith("/tmp/pytest"):
            folder.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 4242, 4242)
    with worker(home, "id -u; touch x && echo wrote", python=str(python), uid=4242) as running:
        assert running.stdout is not None
        assert running.stdout.read() == "65534\nwrote\nNONE\n"


@pytest.mark.skipif(os.getuid() != 0, reason="only root leases uids")
def test_uids_are_leased_once_and_freed_by_a_crash(tmp_path: Path) -> None:
    async def story() -> None:
        mine, theirs = UidPool(tmp_path / "uids", 57_100, 2), UidPool(tmp_path / "uids", 57_100, 2)
        async with mine.lease() as first, theirs.lease() as second:
            assert {first.uid, second.uid} == {57_100, 57_101}
            waiting = asyncio.create_task(_lease_once(mine))
            await asyncio.sleep(0.1)
            assert not waiting.done()
        assert await asyncio.wait_for(waiting, 5) in (57_100, 57_101)

    asyncio.run(story())
    hold = (
        "import asyncio, os, sys; from pathlib import Path\n"
        "from resources.sandbox.local.user_slots import UidPool\n"
        "async def hold():\n"
        "    async with UidPool(Path(sys.argv[1]), 57100, 1).lease(): os.kill(os.getpid(), 9)\n"
        "asyncio.run(hold())\n"
    )
    subprocess.run([sys.executable, "-c", hold, str(tmp_path / "uids")], cwd=ROOT, check=False)
    assert asyncio.run(_lease_once(UidPool(tmp_path / "uids", 57_100, 1))) == 57_100


def test_a_range_of_accounts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SandboxUnavailable, match="no uid"):
        UidPool(tmp_path, 0, 1)


def test_many_at_once_each_keep_their_own(local: LocalSandbox) -> None:
    async def story() -> list[str]:
        requests = [
            a_request(f"echo {n} > mine; sleep 0.1; cat mine; ls | wc -l", task_key=f"many-{n}") for n in range(40)
        ]
        results = await asyncio.gather(*(local.run(request, a_context(), ignore) for request in requests))
        return [result.stdout for result in results]

    assert asyncio.run(story()) == [f"{number}\n1\n" for number in range(40)]
    assert list(local._host.instance.boxes.iterdir()) == []


def test_close_kills_what_runs(tmp_path: Path) -> None:
    async def story() -> ErrorCode:
        sandbox = open_local(local_settings(tmp_path))
        run = asyncio.create_task(sandbox.run(a_request("sleep 244.948"), a_context(), ignore))
        while not processes_with("244.948"):
            await asyncio.sleep(0.01)
        await sandbox.close()
        return (await run).err_code

    assert asyncio.run(story()) is ErrorCode.CMD_NONZERO
    assert processes_with("244.948") == []
    assert list((tmp_path / "boxes").iterdir()) == []


def test_metrics_say_what_was_used(run_local: RunLocal) -> None:
    result = run_local("python3 -c 'x = bytearray(50_000_000); sum(range(3_000_000))'; sleep 0.1")
    assert 100 <= result.metrics.wall_ms < 10_000
    assert result.metrics.cpu_ms > 10
    assert 50 <= result.metrics.mem_peak_mb < 200


async def _lease_once(pool: UidPool) -> int:
    async with pool.lease() as slot:
        return slot.uid


def _allow_everything() -> bytes:
    return (6).to_bytes(2, "little") + b"\0\0" + (0x7FFF0000).to_bytes(4, "little")
