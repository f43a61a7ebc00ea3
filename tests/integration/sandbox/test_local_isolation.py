"""Commands that attack the machine from inside the local sandbox. None may succeed, and nothing may be left."""

import asyncio
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.sandbox.local.local_provider import LocalSandbox
from sisu_pipeline.contracts.sandbox_request import ErrorCode, FileIn, Limits
from tests.integration.sandbox.conftest import RunLocal, eventually, processes_with
from tests.support import sandbox_attacks
from tests.support.sandbox_attacks import ATTACKS
from tests.unit.sandbox.requests import a_context, a_request, ignore

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
def nothing_left(local: LocalSandbox) -> Iterator[None]:
    """After the test: no folder, and no process below the one that starts sandboxes."""
    yield
    assert list(local._host.instance.boxes.iterdir()) == []
    spawner = local._host.spawner.process.pid
    assert eventually(lambda: not Path(f"/proc/{spawner}/task/{spawner}/children").read_text())


def test_the_self_test_sees_a_hole(run_local: RunLocal) -> None:
    probe = Path(__file__).parents[3] / "resources/sandbox/local/isolation_probe.py"
    result = run_local(
        "python3 -I -S probe.py '{\"getpid\": 39}' 1", files_in=(FileIn(path="probe.py", inline=probe.read_text()),)
    )
    assert "the number of processes is not limited" in result.stdout
    assert "getpid is not denied" in result.stdout


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give every sandbox a uid")
def test_it_runs_under_a_real_uid_of_its_own(local: LocalSandbox) -> None:
    async def story() -> set[int]:
        uids: set[int] = set()
        runs = [
            asyncio.create_task(local.run(a_request("exec sleep 31.4159", task_key=f"k{n}"), a_context(), ignore))
            for n in range(3)
        ]
        while len(uids) < 3:
            await asyncio.sleep(0.02)
            for pid in processes_with("31.4159"):
                uids.add(os.stat(f"/proc/{pid}").st_uid)  # noqa: PTH116
            uids.discard(0)
        for number in range(3):
            await local.kill(f"k{number}")
        await asyncio.gather(*runs)
        return uids

    uids = asyncio.run(asyncio.wait_for(story(), 20))
    assert uids <= set(range(57_000, 57_064))


def test_no_network(run_local: RunLocal) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        reach = (
            "import socket\n"
            f"for target in (('1.1.1.1', 53), ('127.0.0.1', {listener.getsockname()[1]})):\n"
            "    try: socket.create_connection(target, 1); print('reached', target)\n"
            "    except OSError as error: print(error.errno)\n"
        )
        result = run_local("python3 reach.py", files_in=(FileIn(path="reach.py", inline=reach),))
    assert result.stdout.split() == ["101", "111"]
    refused = run_local("true", net=True)
    assert (refused.err_code, refused.exit) == (ErrorCode.CMD_NONZERO, 126)
    assert refused.raw is not None
    assert refused.raw["refused"]["code"] == "NET_NOT_SUPPORTED"


def test_its_own_loopback_works(run_local: RunLocal) -> None:
    serve = (
        "import socket, threading\n"
        "server = socket.create_server(('localhost', 0))\n"
        "threading.Thread(target=lambda: server.accept()[0].send(b'hello'), daemon=True).start()\n"
        "print(socket.create_connection(('localhost', server.getsockname()[1])).recv(9).decode())\n"
    )
    assert run_local("python3 serve.py", files_in=(FileIn(path="serve.py", inline=serve),)).stdout == "hello\n"


def test_host_files_are_not_there(run_local: RunLocal, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    places = f"/root /home /var /sys /run /boot /etc/shadow /etc/ssl {tmp_path} {Path(__file__).parents[3]}"
    assert run_local(f"ls -d {places} 2>/dev/null").stdout == ""


def test_nothing_but_the_working_folder_and_tmp_can_be_written(run_local: RunLocal) -> None:
    places = "/ /usr /usr/bin /etc /opt /dev /proc/sys /proc/sysrq-trigger /proc/1"
    result = run_local(
        f"for p in {places}; do touch $p/x 2>/dev/null && echo wrote $p; done; touch /tmp/x x && echo ok"
    )
    assert result.stdout == "ok\n"
    assert run_local("find / -xdev -writable -type f 2>/dev/null | grep -v -e ^/proc -e ^/dev").stdout == ""


def test_kernel_settings_are_out_of_reach(run_local: RunLocal) -> None:
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    run_local("echo pwned > /proc/sys/kernel/core_pattern; mount -t proc proc /tmp; umount /proc/sys")
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before
    assert run_local("find /proc/sys -type f; mount -t tmpfs none /tmp && echo mounted").stdout == ""
    assert run_local("unshare -r true && echo entered; unshare -n true && echo entered").stdout == ""


def test_other_processes_are_out_of_sight(run_local: RunLocal) -> None:
    result = run_local("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert "pytest" not in result.stdout
    assert run_local(f"kill -0 {os.getpid()} && echo alive").stdout == ""


def test_fork_bomb(run_local: RunLocal) -> None:
    result = run_local(": ; f() { f | f & f; }; f", timeout_ms=700)
    assert result.err_code in (ErrorCode.TIMEOUT, ErrorCode.CMD_NONZERO, ErrorCode.NONE, ErrorCode.OOM)


def test_the_number_of_processes_is_bounded_per_sandbox(run_local: RunLocal) -> None:
    count = (
        "import subprocess\nrunning = []\n"
        "try:\n    while len(running) < 2000: running.append(subprocess.Popen(['sleep', '60']))\n"
        "except OSError: pass\nprint(len(running))\n"
    )
    result = run_local(
        "python3 count.py", files_in=(FileIn(path="count.py", inline=count),), limits=Limits(mem_mb=2048)
    )
    assert 200 <= int(result.stdout) <= 256


def test_memory_bomb_in_many_processes(run_local: RunLocal) -> None:
    eat = (
        "import time\nmine = bytearray(60_000_000)\n"
        "for i in range(0, len(mine), 4096): mine[i] = 1\n"
        "time.sleep(60)\n"
    )
    result = run_local(
        "for n in 1 2 3 4 5 6; do python3 eat.py & done; wait",
        files_in=(FileIn(path="eat.py", inline=eat),),
        limits=Limits(mem_mb=128),
    )
    assert result.err_code is ErrorCode.OOM
    assert result.metrics.mem_peak_mb > 128
    assert result.raw is not None
    assert result.raw["limits"]["memory"] in ("cgroup", "watchdog")


def test_memory_bomb_in_one_process(run_local: RunLocal) -> None:
    result = run_local("python3 -c 'bytearray(2_000_000_000)'", limits=Limits(mem_mb=128))
    assert result.err_code in (ErrorCode.OOM, ErrorCode.CMD_NONZERO)


def test_disk_quota(run_local: RunLocal) -> None:
    result = run_local("for n in $(seq 100); do head -c 2000000 /dev/zero > file$n || exit; done; sleep 60")
    assert (result.err_code, result.exit) == (ErrorCode.CMD_NONZERO, 137)
    assert result.raw is not None
    assert result.raw["killedBy"] == "disk"


HOLD_UNLINKED = """
import os, time
held = []
for n in range(20):
    held.append(os.open('f', os.O_CREAT | os.O_RDWR))
    os.unlink('f')
    for _ in range(10):
        os.write(held[-1], b'x' * 1_000_000)
print('wrote', flush=True)
time.sleep(60)
"""
MAP_UNLINKED = """
import mmap, os, time
held = []
for n in range(20):
    file = os.open('f', os.O_CREAT | os.O_RDWR)
    os.unlink('f')
    for _ in range(10):
        os.write(file, b'x' * 1_000_000)
    held.append(mmap.mmap(file, 10_000_000))
    os.close(file)
print('wrote', flush=True)
time.sleep(60)
"""
TAKE_WITHOUT_WRITING = """
import ctypes, os, time
libc = ctypes.CDLL(None, use_errno=True)
for n in range(60):
    file = os.open(f'f{n}', os.O_CREAT | os.O_RDWR)
    done = libc.fallocate(file, 0, ctypes.c_long(0), ctypes.c_long(30_000_000))
    print(done, os.strerror(ctypes.get_errno()))
"""


@pytest.mark.parametrize("filler", [HOLD_UNLINKED, MAP_UNLINKED])
def test_files_without_a_name_count(run_local: RunLocal, filler: str) -> None:
    if filler is MAP_UNLINKED and os.getuid() != 0:
        pytest.skip("what a process has only mapped is shown to root alone")
    # As much memory as it likes: mapped files count there too.
    result = run_local(
        "python3 fill.py", files_in=(FileIn(path="fill.py", inline=filler),), limits=Limits(mem_mb=2048)
    )
    assert (result.err_code, result.exit) == (ErrorCode.CMD_NONZERO, 137)
    assert result.raw is not None
    assert result.raw["killedBy"] == "disk"


def test_disk_space_cannot_be_taken_at_a_stroke(run_local: RunLocal) -> None:
    result = run_local("python3 take.py", files_in=(FileIn(path="take.py", inline=TAKE_WITHOUT_WRITING),))
    assert set(result.stdout.splitlines()) == {"-1 Operation not supported"}
    # What asks nicely gets it, by writing.
    result = run_local(
        "python3 -c \"import os; os.posix_fallocate(os.open('f', os.O_CREAT | os.O_RDWR), 0, 9000)\"; wc -c < f"
    )
    assert (result.err_code, result.stdout) == (ErrorCode.NONE, "9000\n")


def test_who_fills_the_disk_faster_than_it_is_watched_fails_all_the_same(run_local: RunLocal) -> None:
    result = run_local("for n in 1 2 3; do head -c 20000000 /dev/zero > file$n; done")
    assert (result.err_code, result.exit) == (ErrorCode.CMD_NONZERO, 137)
    assert result.raw is not None
    assert result.raw["killedBy"] == "disk"
    assert result.files_out == ()


def test_a_bomb_of_folders(run_local: RunLocal) -> None:
    dig = (
        "import os, time\nfor _ in range(2000):\n    os.mkdir('d'); os.chdir('d')\n"
        "os.chmod('.', 0)\ntime.sleep(60)\n"
    )
    result = run_local("python3 dig.py", files_in=(FileIn(path="dig.py", inline=dig),))
    assert result.raw is not None
    assert result.raw["killedBy"] == "disk"


def test_timeout_kills_what_detached_itself_and_ignores_signals(run_local: RunLocal) -> None:
    escape = (
        "import os, signal, time\n"
        "for _ in range(2):\n    if os.fork(): os._exit(0)\n    os.setsid()\n"
        "signal.signal(15, signal.SIG_IGN)\ntime.sleep(271.828)\n"
    )
    result = run_local(
        "python3 escape.py 271.828 & trap '' TERM INT HUP; sleep 271.828",
        timeout_ms=600,
        files_in=(FileIn(path="escape.py", inline=escape),),
    )
    assert (result.err_code, result.exit) == (ErrorCode.TIMEOUT, 124)
    assert processes_with("271.828") == []


def test_what_a_command_leaves_running_ends_with_it(run_local: RunLocal) -> None:
    result = run_local("setsid sleep 161.803 >/dev/null 2>&1 & echo started")
    assert (result.err_code, result.stdout) == (ErrorCode.NONE, "started\n")
    assert processes_with("161.803") == []


def test_output_flood_is_stopped_by_time_and_bounded(run_local: RunLocal) -> None:
    result = run_local("yes", timeout_ms=500)
    assert result.err_code is ErrorCode.TIMEOUT
    assert len(result.stdout) < 1_100_000
    assert result.raw is not None
    assert result.raw["output"]["stdoutTruncated"] is True


def test_planted_links_are_not_read(run_local: RunLocal) -> None:
    result = run_local(
        "ln -s /etc/shadow result.json; mkdir d; ln -s /etc d/etc; mkfifo pipe.json; rm -rf w; ln -s / w",
        workdir=".",
    )
    assert result.files_out == ()
    assert result.raw is not None
    assert result.raw["filesOut"]["skipped"] == 4


def test_a_huge_hole_is_not_read(run_local: RunLocal) -> None:
    result = run_local("truncate -s 30M hole; echo x > small")
    assert [file.path for file in result.files_out] == ["small"]


def test_cancelling_kills_the_tree(local: LocalSandbox) -> None:
    async def story() -> None:
        run = asyncio.create_task(local.run(a_request("setsid sleep 141.421 & sleep 141.421"), a_context(), ignore))
        while len(processes_with("141.421")) < 2:
            await asyncio.sleep(0.01)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(asyncio.wait_for(story(), 20))
    assert processes_with("141.421") == []


def test_cancelling_at_any_moment_of_the_start_leaves_nothing(local: LocalSandbox) -> None:
    async def cancelled_after(milliseconds: float) -> None:
        run = asyncio.create_task(local.run(a_request("sleep 60"), a_context(), ignore))
        await asyncio.sleep(milliseconds / 1000)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    async def story() -> None:
        for start in range(0, 60, 10):
            await asyncio.gather(*(cancelled_after(start + step) for step in range(10)))

    asyncio.run(asyncio.wait_for(story(), 60))


def test_a_spawner_killed_at_any_moment_of_the_start_loses_nothing_for_good(local: LocalSandbox) -> None:
    async def story() -> set[ErrorCode]:
        codes = set()
        for milliseconds in range(0, 20, 2):
            run = asyncio.create_task(local.run(a_request("sleep 0.3"), a_context(), ignore))
            await asyncio.sleep(milliseconds / 1000)
            local._host.spawner.process.kill()
            local._host.spawner.process.wait()
            codes.add((await asyncio.wait_for(run, 40)).err_code)
            assert (await local.run(a_request("true"), a_context(), ignore)).err_code is ErrorCode.NONE
        return codes

    assert asyncio.run(story()) <= {ErrorCode.BOOT_FAIL, ErrorCode.NONE}


def test_a_thread_that_ends_does_not_take_the_sandbox_with_it(local: LocalSandbox) -> None:
    """`--die-with-parent` follows threads: the one that asks for a sandbox may end before it."""

    async def story() -> str:
        launched = local._host.launch
        replaced: list[object] = []

        def in_a_thread(*arguments: object) -> object:
            thread = threading.Thread(target=lambda: replaced.append(launched(*arguments)))  # type: ignore[arg-type]
            thread.start()
            thread.join()
            return replaced[0]

        local._host.launch = in_a_thread  # type: ignore[assignment,method-assign]
        try:
            return (await local.run(a_request("sleep 0.2; echo done"), a_context(), ignore)).stdout
        finally:
            local._host.launch = launched  # type: ignore[method-assign]

    assert asyncio.run(story()) == "done\n"


def test_a_boot_failure_is_ours_and_a_dead_spawner_is_replaced(local: LocalSandbox) -> None:
    async def story() -> tuple[ErrorCode, ErrorCode, ErrorCode]:
        run = asyncio.create_task(local.run(a_request("sleep 173.205"), a_context(), ignore))
        while not processes_with("173.205"):
            await asyncio.sleep(0.01)
        local._host.spawner.process.kill()
        lost = (await run).err_code
        local._host.spawner.process.wait()
        after = (await local.run(a_request("true"), a_context(), ignore)).err_code
        bwrap = local._host.layout
        local._host.layout = type(bwrap)(**{**vars(bwrap), "boxes_seen": "/nowhere"})
        try:
            return lost, after, (await local.run(a_request("true"), a_context(), ignore)).err_code
        finally:
            local._host.layout = bwrap

    assert asyncio.run(story()) == (ErrorCode.BOOT_FAIL, ErrorCode.NONE, ErrorCode.BOOT_FAIL)


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_fails(run_local: RunLocal, tmp_path: Path, attack: str) -> None:
    with sandbox_attacks.listening_target(os.getpid(), tmp_path / "secret", "a secret of the host") as target:
        files = sandbox_attacks.files_of(ATTACKS[attack], target)
        result = run_local(
            f"{sandbox_attacks.COMMAND} 2>&1",
            files_in=tuple(FileIn(path=path, inline=text) for path, text in files.items()),
        )
    assert (result.stdout, result.exit) == ("", 0)


@pytest.mark.parametrize("attack", ["network", "host files", "other processes", "secrets"])
def test_an_attack_without_a_sandbox_succeeds(tmp_path: Path, attack: str) -> None:
    with sandbox_attacks.listening_target(os.getpid(), tmp_path / "secret", "a secret of the host") as target:
        for path, text in sandbox_attacks.files_of(ATTACKS[attack], target).items():
            (tmp_path / path).write_text(text)
        environment = {"PATH": os.environ["PATH"], "KEY": target.secret}
        command = sandbox_attacks.COMMAND.split()
        ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout
