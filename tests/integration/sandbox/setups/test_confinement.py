"""What a prepare command cannot do, how it fails, and what remains of it."""

import asyncio
import http.server
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from resources.sandbox.local.local_provider import LocalSandbox
from resources.sandbox.sandbox_port import SetupFailed
from tests.integration.sandbox.conftest import eventually, processes_with
from tests.integration.sandbox.setups.conftest import a_setup, a_task, open_sandbox, outcome_of, run_task
from tests.support import sandbox_attacks
from tests.support.sandbox_attacks import ATTACKS
from tests.unit.sandbox.requests import ignore


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_from_a_prepare_command_fails(sandbox: LocalSandbox, tmp_path: Path, attack: str) -> None:
    with sandbox_attacks.listening_target(os.getpid(), tmp_path / "secret", "a secret of the host") as target:
        files = sandbox_attacks.files_of(ATTACKS[attack], target)
        setup = a_setup(f"{sandbox_attacks.COMMAND} > achieved 2>&1", sorted(files))
        result = run_task(sandbox, setup, "cat achieved", files)
    assert (result.stdout, result.exit) == ("", 0)


def test_what_a_command_leaves_running_ends_with_it(sandbox: LocalSandbox) -> None:
    assert run_task(sandbox, a_setup("setsid sleep 133.7 >/dev/null 2>&1 & true"), "echo done").stdout == "done\n"
    assert processes_with("133.7") == []


@pytest.mark.parametrize(
    ("command", "limits", "sentence"),
    [
        ("echo half > file; echo no such package >&2; exit 3", {}, "it ended with exit code 3: no such package"),
        ("sleep 60", {"timeout_ms": 500}, "it took longer than 500 ms"),
        (
            "for n in 1 2 3; do python3 -c 'x = b\"1\" * 40_000_000; import time; time.sleep(30)' & done; wait",
            {"mem_mb": 64},
            "it used more than 64 MiB of memory",
        ),
        ("head -c 60000000 /dev/zero > big; sleep 60", {"disk_mb": 50}, "it wrote more than 50 MiB"),
        ("head -c 40000000 /dev/zero | split -b 9000000 - /tmp/x; sleep 60", {"disk_mb": 30}, "more than 30 MiB"),
    ],
    ids=["exit", "time", "memory", "disk", "temporary"],
)
def test_a_command_that_fails_is_a_sentence_and_leaves_nothing(
    home: Path, sandbox: LocalSandbox, command: str, limits: dict[str, Any], sentence: str
) -> None:
    before = set((home / "sandbox" / "setups").glob("*/"))
    with pytest.raises(SetupFailed, match=r"the prepare command of inputs\.setup failed: ") as failed:
        run_task(sandbox, a_setup(command, **limits), "true")
    assert sentence in str(failed.value)
    assert failed.value.report is not None
    assert failed.value.report.outcome == "failed"
    assert set((home / "sandbox" / "setups").glob("*/")) == before


def test_a_command_that_failed_is_executed_again_for_the_next_task(sandbox: LocalSandbox) -> None:
    setup = a_setup("exit $(($(od -An -N1 -tu1 /dev/urandom) % 2))")  # fails half of the time
    for _ in range(50):
        try:
            assert outcome_of(run_task(sandbox, setup, "true")) == "prepared"
            break
        except SetupFailed:
            continue
    else:
        pytest.fail("it never succeeded")


def test_nothing_that_gives_privileges_is_kept(home: Path, sandbox: LocalSandbox) -> None:
    command = (
        "cp /bin/sh shell && chmod 6777 shell && mkfifo pipe && ln -s /etc/shadow link && mkdir closed && touch "
        "closed/file && chmod 0 closed/file closed && chmod 7777 . && touch mark"
    )
    result = run_task(sandbox, a_setup(command), "find . -mindepth 1 | sort; ls closed")
    assert result.stdout.split() == [
        "./closed",
        "./closed/file",
        "./link",
        "./lock.txt",
        "./mark",
        "./shell",
        "file",
    ]
    [layer] = {path.parent for path in (home / "sandbox" / "setups").glob("*/mark")}
    for path in (layer, *layer.iterdir()):
        assert path.is_symlink() or path.stat().st_mode & 0o7022 == 0, path
        assert path.lstat().st_uid == os.getuid()


def test_when_the_last_waiting_task_is_canceled_the_command_is_killed(sandbox: LocalSandbox) -> None:
    async def story() -> None:
        tasks = [
            asyncio.create_task(sandbox.run(*a_task(a_setup("sleep 144.41"), "true", key=str(n)), ignore))
            for n in range(3)
        ]
        while not processes_with("144.41"):
            await asyncio.sleep(0.01)
        tasks[0].cancel()
        await asyncio.wait({tasks[0]})
        assert processes_with("144.41")
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    asyncio.run(asyncio.wait_for(story(), 30))
    assert processes_with("144.41") == []


def test_closing_the_provider_kills_the_command(home: Path) -> None:
    sandbox = open_sandbox(home)

    async def story() -> None:
        task = asyncio.create_task(sandbox.run(*a_task(a_setup("sleep 155.51"), "true"), ignore))
        while not processes_with("155.51"):
            await asyncio.sleep(0.01)
        await sandbox.close()
        await asyncio.wait({task})

    asyncio.run(asyncio.wait_for(story(), 30))
    assert processes_with("155.51") == []


_WORKER = """
import asyncio, sys
from pathlib import Path
from tests.integration.sandbox.setups import conftest as t
sandbox = t.open_sandbox(Path(sys.argv[1]))
task = t.a_task(t.a_setup("head -c 5000000 /dev/zero > half; sleep 166.61"), "true")
asyncio.run(sandbox.run(*task, t.ignore))
"""


def test_a_worker_that_is_killed_while_it_prepares_leaves_nothing_and_no_lock(home: Path) -> None:
    worker = subprocess.Popen([sys.executable, "-c", _WORKER, str(home)], cwd=Path(__file__).parents[4])
    try:
        assert eventually(lambda: bool(processes_with("166.61")), 60)
        assert eventually(lambda: bool(list((home / "sandbox" / "boxes").glob("*/*/work/half"))))
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    assert eventually(lambda: not processes_with("166.61"))
    sandbox = open_sandbox(home)  # removes the folders of the killed worker
    try:
        assert list((home / "sandbox" / "boxes").glob("*/*/work")) == []
        assert not list((home / "sandbox" / "setups").glob("*/half"))
        setup = a_setup("head -c 5000000 /dev/zero > half; sleep 166.61", timeout_ms=500)
        with pytest.raises(SetupFailed, match="longer than 500 ms"):  # another setup; the lock of the first is free
            run_task(sandbox, setup, "true")
    finally:
        asyncio.run(sandbox.close())


_FETCH = """
import http.client, socket
def fetch(host, port):
    connection = http.client.HTTPSConnection("127.0.0.1", 9918, timeout=5)
    connection.set_tunnel(host, port)
    try:
        http.client.HTTPConnection.connect(connection)
    except OSError as error:
        return str(error)
    connection.sock.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    return connection.sock.makefile("rb").read().split(b"\\r\\n\\r\\n")[-1].decode()
print(fetch("127.0.0.1", ALLOWED))
print(fetch("127.0.0.1", REFUSED))
print(fetch("localhost", ALLOWED))
try:
    socket.create_connection(("127.0.0.1", ALLOWED), 2)
except OSError as error:
    print(error.strerror)
"""


def test_a_command_reaches_the_hosts_of_its_plan_and_no_other_and_its_tasks_reach_none(
    sandbox: LocalSandbox,
) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"a package")

        def log_message(self, *_: Any) -> None:
            """Silent."""

    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _ in range(2)]
    try:
        for server in servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        allowed, refused = (server.server_address[1] for server in servers)
        fetch = _FETCH.replace("ALLOWED", str(allowed)).replace("REFUSED", str(refused))
        setup = a_setup("python3 fetch.py > fetched", ["fetch.py"], hosts=[f"127.0.0.1:{allowed}"])
        files = {"fetch.py": fetch}
        result = run_task(sandbox, setup, "cat fetched; env | grep -ci proxy; ls -A /run", files)
        assert result.stdout.splitlines() == [
            "a package",
            "Tunnel connection failed: 403 Forbidden",
            "Tunnel connection failed: 403 Forbidden",
            "Connection refused",
            "0",
        ]
        again = run_task(sandbox, setup, "python3 fetch.py", files, run="run_network")
        assert "a package" not in again.stdout
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


def test_a_command_on_the_network_ends_like_any_other(sandbox: LocalSandbox) -> None:
    setup = a_setup("echo no index >&2; exit 5", hosts=["pypi.org"])
    with pytest.raises(SetupFailed, match="exit code 5: no index"):
        run_task(sandbox, setup, "true")
