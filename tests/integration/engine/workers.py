"""Real workers for tests, forked from one process that has imported everything once."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import psutil

from resources.database import Database
from sisu_pipeline.settings import PROJECT_ROOT, child_environment
from sisu_pipeline.store.queues import queue_depth

_PATIENCE_S = 60.0


def has_ended(process: psutil.Process) -> bool:
    """Whether a process is gone or waits for its parent. It may vanish between any two looks at it."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@dataclass(frozen=True)
class Worker:
    """A worker group: its parent's pid; a process of it executes work."""

    pid: int

    @property
    def processes(self) -> list[int]:
        """The pids of the processes that take work."""
        try:
            return [child.pid for child in psutil.Process(self.pid).children()]
        except psutil.NoSuchProcess:
            return []

    @property
    def is_running(self) -> bool:
        """Whether the group is there; one that has ended and waits for its parent is not."""
        try:
            return not has_ended(psutil.Process(self.pid))
        except psutil.NoSuchProcess:
            return False

    def kill_processes(self) -> None:
        """SIGKILL to what takes work; the group starts another process."""
        for pid in self.processes:
            os.kill(pid, signal.SIGKILL)

    def kill(self) -> None:
        """SIGKILL to all of it at once: nothing is started again, not even what is being forked right now."""
        for kill in (os.killpg, os.kill):  # the second for one that has not yet made itself a group
            with suppress(ProcessLookupError):
                kill(self.pid, signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, as an operator stops it."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)


class Nursery:
    """Starts workers; ends them all when it is closed."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.engine.nursery"],
            cwd=PROJECT_ROOT,
            env=child_environment(**environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def start(self, queue: str, processes: int = 1, namespace: str | None = None, **variables: str) -> Worker:
        """Fork a worker group on a queue, with these settings, in a network namespace if one is named."""
        assert self._process.stdin is not None and self._process.stdout is not None
        order = {"queue": queue, "processes": processes, "namespace": namespace, "variables": variables}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return Worker(int(self._process.stdout.readline()))

    @contextmanager
    def worker(
        self, queue: str, processes: int = 1, namespace: str | None = None, **variables: str
    ) -> Iterator[Worker]:
        """The same, gone at the end, however."""
        worker = self.start(queue, processes, namespace, **variables)
        try:
            yield worker
        finally:
            worker.kill()


def wait_for_workers(database: Database, queue: str, version: str = "v1", count: int = 1) -> None:
    """Return when so many workers of a queue and version are there; a dead one is not counted."""

    def there() -> bool:
        with database.connect() as connection:
            states = queue_depth.queue_states(connection)
        return queue_depth.workers_of(states, queue, version) == count

    deadline = time.monotonic() + _PATIENCE_S
    while not there():
        assert time.monotonic() < deadline, f"never {count} worker(s) of version {version} on {queue}"
        time.sleep(0.02)
