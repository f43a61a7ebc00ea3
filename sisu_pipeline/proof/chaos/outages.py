"""Outages of what a stack needs: Postgres does not reply, Postgres has no free connection, the disk is full."""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

import psutil
import psycopg

from resources.database import Connection
from sisu_pipeline.proof.chaos.fault_schedule import FaultKind, PlannedFault
from sisu_pipeline.proof.harness import stack_processes
from sisu_pipeline.proof.harness.lab_stack import LabFailed
from sisu_pipeline.proof.harness.limited_disk import LimitedDisk
from sisu_pipeline.proof.harness.running_stack import RunningStack
from sql import query

_TAKE_AGAIN_S = 0.2


@dataclass(frozen=True)
class Outages:
    """Causes outages of a running stack and ends them; `wait` waits for some seconds."""

    stack: RunningStack
    disk: LimitedDisk | None
    wait: Callable[[float], None]

    def cause(self, planned: PlannedFault) -> Sequence[object]:
        """Cause an outage, and return what it hit when it is over."""
        match planned.kind:
            case FaultKind.FREEZE_POSTGRES:
                return self._freeze_postgres(planned.seconds)
            case FaultKind.EXHAUST_CONNECTIONS:
                return self._exhaust_connections(planned)
            case _:
                return self._fill_disk(planned.seconds)

    def _freeze_postgres(self, seconds: float) -> list[int]:
        with frozen_postgres(self.stack) as pids:
            if pids:
                self.wait(seconds)
            return pids

    def _exhaust_connections(self, planned: PlannedFault) -> list[str]:
        """Take every connection that is left and some of those in use, and keep them for a while."""
        until = time.monotonic() + planned.seconds
        with ExitStack() as held:
            taken = self._take_connections(held)
            if not taken:
                return []
            with suppress(psycopg.Error):
                _end_sessions(taken[0], planned.ranks)
            while time.monotonic() < until:
                self.wait(_TAKE_AGAIN_S)
                taken += self._take_connections(held)
            return [f"{len(taken)} connections"]

    def _take_connections(self, held: ExitStack) -> list[Connection]:
        """Open sessions until the server refuses one."""
        taken = []
        with suppress(psycopg.OperationalError):
            while True:
                taken.append(held.enter_context(self.stack.database.connect(autocommit=True)))
        return taken

    def _fill_disk(self, seconds: float) -> list[str]:
        assert self.disk is not None, "left out without a disk of its own"
        with self.disk.full():
            self.wait(seconds)
        return [str(self.disk.folder)]


@contextmanager
def frozen_postgres(stack: RunningStack) -> Iterator[list[int]]:
    """Stop every process of Postgres inside the block; yields their ids, none while the server is down."""
    stopped: list[int] = []
    try:
        with suppress(LabFailed, psutil.Error):
            # The main process first: it must not start another one meanwhile.
            main = stack_processes.postmaster(stack.process)
            for process in (main, *_children(main)):
                if stack_processes.send_signal(process.pid, signal.SIGSTOP):
                    stopped.append(process.pid)
        yield stopped
    finally:
        for pid in reversed(stopped):
            stack_processes.send_signal(pid, signal.SIGCONT)


def _children(main: psutil.Process) -> Iterator[psutil.Process]:
    """The child processes, listed when they are asked for."""
    yield from main.children(recursive=True)


def _end_sessions(connection: Connection, ranks: Sequence[int]) -> None:
    """End some sessions of the stack, so that its processes need new ones."""
    backends = [row["pid"] for row in connection.execute(query("labs.stack_backends"))]
    chosen = sorted({backends[rank % len(backends)] for rank in ranks}) if backends else []
    connection.execute(query("labs.terminate"), {"pids": chosen})
