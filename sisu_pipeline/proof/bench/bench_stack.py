"""A stack for a measurement, with CPU and memory by component."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from sisu_pipeline.proof.harness import stack_processes
from sisu_pipeline.proof.harness.lab_stack import lab_stack
from sisu_pipeline.proof.harness.running_stack import RunningStack, connect_to

NO_LIMITS = {
    "INTENT_QUEUE_RATE_LIMIT_PER_PERIOD": "0",
    "INTENT_QUEUE_CONCURRENCY": "0",
    "SBX_QUEUE_RATE_LIMIT_PER_PERIOD": "0",
    "SBX_QUEUE_CONCURRENCY": "0",
    "SBX_QUEUE_WORKER_CONCURRENCY": "2000",
}

BUFFERS = "postgres_shared_buffers"

Figures = dict[str, float]


class MeasuredStack(RunningStack):
    """A running stack that reports its CPU time, memory, processes and threads."""

    def cpu_seconds(self) -> Figures:
        """CPU seconds used so far by component, including those of children that have exited."""
        return {name: sum(_cpu(process) for process in group) for name, group in self._groups().items()}

    def memory_mb(self) -> Figures:
        """Memory in MiB by component, as proportional set size (PSS): pages shared by forked processes count once.

        Postgres' shared buffers are a separate entry: a cache of fixed size, which any work fills.
        """
        groups = self._groups()
        figures = {name: sum(_memory(process) for process in group) for name, group in groups.items()}
        buffers = sum(_shared_memory(process) for process in groups["postgres"])
        return {**figures, "postgres": figures["postgres"] - buffers, BUFFERS: buffers}

    def processes_and_threads(self) -> tuple[int, int]:
        """The number of processes and threads, without Postgres."""
        groups = self._groups()
        members = [process for name in groups if name != "postgres" for process in groups[name]]
        return len(members), sum(process.num_threads() for process in members)

    def _groups(self) -> dict[str, list[psutil.Process]]:
        return stack_processes.by_component(self.process) | {"postgres": stack_processes.postgres(self.process)}


@contextmanager
def measured_stack(
    *, workers: int, profile: str = "warm", sandbox_workers: int = 1, limits: Mapping[str, str] = NO_LIMITS
) -> Iterator[MeasuredStack]:
    """Start a stack on the mock provider in a temporary folder; stop and remove it at the end.

    `limits` are settings of the queues; none leaves the defaults.
    """
    variables = {"SISU_PROFILE": profile, "SBX_MODE": "mock", **limits}
    with temporary_folder() as home, measured_stack_in(home, variables, workers, sandbox_workers) as stack:
        yield stack


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Create a temporary folder for a stack; it is removed at the end of the block."""
    with tempfile.TemporaryDirectory(prefix="sisu-bench-", ignore_cleanup_errors=True) as name:
        # As root, the embedded Postgres runs under a different user, which must be able to enter.
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def measured_stack_in(
    home: Path, variables: Mapping[str, str], workers: int, sandbox_workers: int
) -> Iterator[MeasuredStack]:
    """Start a stack with its data in `home` and stop it at the end; the data stays for inspection."""
    with (
        lab_stack(home, variables, workers=workers, sandbox_workers=sandbox_workers) as process,
        connect_to(process) as stack,
    ):
        yield MeasuredStack(process, stack.http, stack.database)


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
