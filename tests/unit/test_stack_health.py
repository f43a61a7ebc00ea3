"""`sisu doctor` answers within seconds, whatever the parts of the stack do."""

import socket
from pathlib import Path

import pytest

from sisu_pipeline.settings import Settings, load_settings
from sisu_pipeline.supervisor import stack_health


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a stack that does not run, whose database accepts connections and never answers."""
    monkeypatch.setattr(stack_health, "_CONNECT_TIMEOUT_S", 2)
    url = f"postgresql://u@/app?host={tmp_path}"
    ports = {"PORT": "1", "ADMIN_PORT": "2"}
    return load_settings({"DATABASE_URL": url, "SISU_HOME": str(tmp_path), "SBX_MODE": "mock", **ports})


@pytest.mark.timeout(30)
def test_a_database_that_accepts_and_never_answers_is_a_failed_check(hanging: Settings, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / ".s.PGSQL.5432"))
        server.listen()
        health = stack_health.examine(hanging)
    checks = {check.name: check for check in health.checks}
    assert not checks["database"].ok
    assert "timeout" in checks["database"].detail
    assert checks["intentQ workers"].detail == "unknown: the database cannot be reached"
    assert not health.ok


def test_a_disk_without_room_is_a_failed_check(tmp_path: Path) -> None:
    assert stack_health.disk(tmp_path, 0).ok
    full = stack_health.disk(tmp_path / "later", 10**9)
    assert not full.ok
    assert full.detail.endswith(": make room, at least 1000000000 MB")
