"""The process `python -m sisu_pipeline.api.server`."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from resources.database import Database
from sisu_pipeline.api.server import check_host
from sisu_pipeline.domain.setting_errors import SettingsError
from tests.builders import a_run

Until = Callable[[Callable[[], bool]], None]
MODULE = "sisu_pipeline.api.server"


@contextmanager
def _process(database: Database, home: Path, **settings: str) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "DATABASE_URL": database.url, "SISU_HOME": str(home), **settings}
    command = [sys.executable, "-m", MODULE]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_it_stops_within_three_seconds_with_a_stream_open(
    clean_database: Database, tmp_path: Path, free_port: Callable[[], int], until: Until
) -> None:
    with clean_database.connect() as connection:
        run = a_run(connection)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with _process(clean_database, tmp_path, PORT=str(port)) as process:
        until(lambda: _answers(f"{url}/healthz"))
        with httpx.stream("GET", f"{url}/runs/{run.id}/events", timeout=20) as stream:
            lines = stream.iter_lines()
            assert next(lines) == "event: run"
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            list(lines)
        assert process.wait(timeout=10) in (0, -signal.SIGTERM)
        assert time.monotonic() - began < 3
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_it_refuses_to_serve_others(clean_database: Database, tmp_path: Path) -> None:
    with _process(clean_database, tmp_path, SISU_HOST="0.0.0.0") as process:
        _, complaint = process.communicate(timeout=30)
    assert process.returncode == 2
    assert complaint.startswith("sisu api: SISU_HOST must be a loopback address while no token exists")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org", "", "127.0.0.1.example.org"])
def test_only_a_loopback_address_is_a_host(host: str) -> None:
    with pytest.raises(SettingsError):
        check_host(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_every_loopback_address_is_a_host(host: str) -> None:
    check_host(host)


def test_it_imports_neither_dagster_nor_dbos() -> None:
    code = f"import sys, {MODULE}; print([name for name in ('dagster', 'dbos', 'e2b') if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False
