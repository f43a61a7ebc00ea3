"""Finding a delegated cgroup, and reading what the kernel says of one, on folders that look like it."""

from pathlib import Path

import pytest

from resources.sandbox.local.isolation.cgroup import Cgroup, delegated_cgroup


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    group = tmp_path / "cgroup" / "service"
    group.mkdir(parents=True)
    (group / "cgroup.subtree_control").write_text("cpu memory pids\n")
    proc = tmp_path / "proc"
    proc.mkdir()
    (proc / "mounts").write_text(f"proc /proc proc rw 0 0\ncgroup2 {tmp_path}/cgroup cgroup2 rw 0 0\n")
    (proc / "cgroup").write_text("4:memory:/x\n0::/service\n")
    return proc


def test_a_group_that_hands_memory_down_is_used(proc: Path, tmp_path: Path) -> None:
    assert delegated_cgroup(proc) == tmp_path / "cgroup" / "service"


def test_without_memory_in_it_the_watchdog_has_to_do(proc: Path, tmp_path: Path) -> None:
    (tmp_path / "cgroup" / "service" / "cgroup.subtree_control").write_text("cpu pids\n")
    assert delegated_cgroup(proc) is None


@pytest.mark.parametrize(("file", "text"), [("mounts", "proc /proc proc rw 0 0\n"), ("cgroup", "4:memory:/x\n")])
def test_without_cgroup_2_there_is_none(proc: Path, file: str, text: str) -> None:
    (proc / file).write_text(text)
    assert delegated_cgroup(proc) is None


def test_limits_are_written_and_events_read(tmp_path: Path) -> None:
    group = Cgroup.create(tmp_path, "box", memory_mb=2, cpu=0.5)
    assert (group.path / "memory.max").read_text() == "2097152"
    assert not group.has_cpu_limit
    assert not group.was_out_of_memory()
    (group.path / "memory.events").write_text("low 0\noom_kill 1\n")
    (group.path / "memory.peak").write_text("1048577\n")
    assert group.was_out_of_memory()
    assert group.peak_mb() == 2
