"""A stack of its own for a measurement, with CPU and memory by component."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from sisu_pipeline.proof.harness import running_stack as stages
from sisu_pipeline.proof.harness import stack_processes
from sisu_pipeline.proof.harness.lab_stack import lab_stack

NO_LIMITS = {
    "INTENT_QUEUE_RATE_LIMIT_PER_PERIOD": "0",
    "INTENT_QUEUE_CONCURRENCY": "0",
    "SBX_QUEUE_RATE_LIMIT_PER_PERIOD": "0",
    "SBX_QUEUE_CONCURRENCY": "0",
    "SBX_QUEUE_WORKER_CONCURRENCY": "2000",
}

BUFFERS = "postgres_shared_buffers"

Figures = dict[str, float]


class Stage(stages.Stage):
    """A running stack, what to ask of it, and what it costs."""

    def cpu_seconds(self) -> Figures:
        """CPU seconds used so far, by component, children that have ended included."""
        return {name: sum(_cpu(process) for process in group) for name, group in self._groups().items()}

    def memory_mb(self) -> Figures:
        """Memory in MiB by component: each process's own share (PSS), so that forked pages count once.

        Postgres' shared buffers are counted apart: a cache of a set size, which work of any kind fills.
        """
        groups = self._groups()
        figures = {name: sum(_memory(process) for process in group) for name, group in groups.items()}
        buffers = sum(_shared_memory(process) for process in groups["postgres"])
        return {**figures, "postgres": figures["postgres"] - buffers, BUFFERS: buffers}

    def processes_and_threads(self) -> tuple[int, int]:
        """How many processes and threads the stack has, Postgres apart."""
        groups = self._groups()
        members = [process for name in groups if name != "postgres" for process in groups[name]]
        return len(members), sum(process.num_threads() for process in members)

    def _groups(self) -> dict[str, list[psutil.Process]]:
        return stack_processes.by_component(self.stack) | {"postgres": stack_processes.postgres(self.stack)}


@contextmanager
def stage(*, workers: int, profile: str = "warm", sandbox_workers: int = 1) -> Iterator[Stage]:
    """A fresh stack on the mock provider in a temporary folder, stopped and removed at the end."""
    variables = {"SISU_PROFILE": profile, "SBX_MODE": "mock", **NO_LIMITS}
    with folder() as home, stage_in(home, variables, workers, sandbox_workers) as found:
        yield found


@contextmanager
def folder() -> Iterator[Path]:
    """A temporary folder for a stack, there until the block ends."""
    with tempfile.TemporaryDirectory(prefix="sisu-bench-", ignore_cleanup_errors=True) as name:
        # The embedded Postgres runs as a user of its own when we are root.
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def stage_in(home: Path, variables: Mapping[str, str], workers: int, sandbox_workers: int) -> Iterator[Stage]:
    """A fresh stack with its data in `home`, stopped at the end; what it left can then be looked at."""
    with (
        lab_stack(home, variables, workers=workers, sandbox_workers=sandbox_workers) as stack,
        stages.on(stack) as found,
    ):
        yield Stage(found.stack, found.http, found.database)


def _cpu(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def _shared_memory(process: psutil.Process) -> float:
    try:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(float(line.split()[1]) / 2**10 for line in lines if line.startswith("Pss_Shmem:"))


def _memory(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().pss) / 2**20
    except psutil.Error:
        return 0.0
