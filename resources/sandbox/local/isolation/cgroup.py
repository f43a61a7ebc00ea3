"""Hard memory and CPU limits by cgroup v2, where this process has a delegated cgroup.

That is the case when its own cgroup is writable and delegates the memory controller (systemd: `Delegate=yes`
and the service in a sub-group, or a container with a writable cgroup). Elsewhere the watchdog limits memory.
"""

import contextlib
from dataclasses import dataclass
from os import W_OK, access
from pathlib import Path

_PERIOD_US = 100_000


def delegated_cgroup(proc: Path = Path("/proc/self")) -> Path | None:
    """The cgroup v2 folder of this process if groups with a memory limit can be created in it, else None."""
    try:
        mount = _cgroup2_mount((proc / "mounts").read_text())
        own = _own_group((proc / "cgroup").read_text())
        if mount is None or own is None:
            return None
        group = mount / own.lstrip("/")
        controllers = (group / "cgroup.subtree_control").read_text().split()
    except OSError:
        return None
    return group if "memory" in controllers and access(group, W_OK) else None


@dataclass(frozen=True)
class Cgroup:
    """The group of one sandbox."""

    path: Path
    has_cpu_limit: bool

    @classmethod
    def create(cls, parent: Path, name: str, *, memory_mb: int, cpu: float) -> "Cgroup":
        """Create the group with its limits. Raises OSError."""
        path = parent / name
        path.mkdir()
        (path / "memory.max").write_text(str(memory_mb * 1024 * 1024))
        (path / "memory.oom.group").write_text("1")
        with contextlib.suppress(OSError):  # absent on a kernel without swap accounting
            (path / "memory.swap.max").write_text("0")
        has_cpu_limit = (path / "cpu.max").exists()
        if has_cpu_limit:
            (path / "cpu.max").write_text(f"{max(1000, int(cpu * _PERIOD_US))} {_PERIOD_US}")
        return cls(path, has_cpu_limit)

    def peak_mb(self) -> int:
        """The peak memory of the group in MiB; 0 on kernels before 5.19, which do not record it."""
        try:
            return -(-int((self.path / "memory.peak").read_text()) // (1024 * 1024))
        except OSError:
            return 0

    def was_out_of_memory(self) -> bool:
        """Whether the kernel killed a process of the group for its memory limit."""
        try:
            events = (self.path / "memory.events").read_text()
        except OSError:
            return False
        counts = dict(line.split() for line in events.splitlines())
        return int(counts.get("oom_kill", "0")) > 0

    def remove(self) -> None:
        """Remove the (empty) group."""
        with contextlib.suppress(FileNotFoundError):
            self.path.rmdir()


def _cgroup2_mount(mounts: str) -> Path | None:
    for line in mounts.splitlines():
        _, folder, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(folder)
    return None


def _own_group(groups: str) -> str | None:
    for line in groups.splitlines():
        if line.startswith("0::"):
            return line.removeprefix("0::")
    return None
