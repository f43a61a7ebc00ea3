"""A group of worker processes: `python -m sisu_pipeline.worker --queue intentQ|sbxQ|compileQ --processes N`.

The groups of `intentQ` and `compileQ` import everything once and fork their processes, which share that memory. The
group of `sbxQ` usually has one process, which executes many tasks, and that of `compileQ` one, which runs agents. A
process that ends is replaced. On SIGTERM the group stops its processes (`worker_process.py` describes how they
stop) and kills those that exceed the deadline.
"""

import argparse
import ctypes
import gc
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from resources.migrations import exit_if_newer
from sisu_pipeline.contracts.intent import QueueName
from sisu_pipeline.queueing.sandbox_provider import check_sandbox
from sisu_pipeline.settings import settings
from sisu_pipeline.worker.worker_process import STOP_DEADLINE_S, STOP_SIGNALS, run_worker
from sisu_pipeline.workflow.dependencies import open_dependencies

_MIN_LIFETIME_S = 1.0
_M_ARENA_MAX = -8


def main() -> None:
    """The command line of a worker group."""
    parser = argparse.ArgumentParser(prog="sisu worker")
    parser.add_argument("--queue", choices=[QueueName.INTENT, QueueName.SANDBOX, QueueName.COMPILE], required=True)
    parser.add_argument("--processes", type=int, default=None)
    arguments = parser.parse_args()
    # Not in the forked processes: a group that runs goes on after a newer release has migrated the database.
    exit_if_newer(open_dependencies(settings()).database, "worker")
    run_group(QueueName(arguments.queue), arguments.processes)


def run_group(queue: QueueName, processes: int | None) -> None:
    """Run workers on a queue until SIGTERM or SIGINT; return when all have stopped.

    Raises SandboxUnavailable when the sandbox provider refuses this machine: without a worker, tasks wait in
    the queue instead of failing for want of a sandbox.
    """
    is_intent_queue = queue is QueueName.INTENT
    count = processes or (settings().intent_queue_worker_concurrency if is_intent_queue else 1)
    if is_intent_queue:
        preload()
    elif queue is QueueName.SANDBOX:
        check_sandbox(settings())
    else:
        _preload_questions()
    WorkerGroup(queue, count).run()


def preload() -> None:
    """Import what every intent worker needs, before forking. Opens no connection and starts no thread."""
    _share_one_heap()
    from sisu_pipeline.worker.segment_runner import repository

    repository().get_all_jobs()
    # Frozen objects are left out of garbage collections, so their pages stay shared with the forked processes.
    gc.collect()
    gc.freeze()


def _preload_questions() -> None:
    """Import what a planner worker needs, before forking: a replacement then works within a second."""
    import sisu_pipeline.worker.question_worker  # noqa: F401


def _share_one_heap() -> None:
    """Make all threads allocate from one heap. With one heap per thread, glibc returns little of a step's memory.

    A run of ten thousand tasks has a hundred threads, but they hold the interpreter's lock while they allocate,
    so the shared heap costs them nothing. Other C libraries have neither these heaps nor this switch.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


class WorkerGroup:
    """Forks `count` worker processes of a queue and replaces those that end."""

    def __init__(self, queue: QueueName, count: int) -> None:
        self.queue = queue
        self.count = count
        self.children: set[int] = set()
        self.stopping = False

    def run(self) -> None:
        """Keep `count` children running until a stop signal, then wait for them to end."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._stop)
        while not self.stopping:
            while len(self.children) < self.count and not self.stopping:
                self._start_child()
            forked = time.monotonic()
            self._reap(block=True)
            # Delay the replacement of children that end at once, as they do while the database is unreachable.
            if not self.stopping and time.monotonic() - forked < _MIN_LIFETIME_S:
                time.sleep(_MIN_LIFETIME_S / 2)
        deadline = time.monotonic() + STOP_DEADLINE_S + 1
        while self.children and time.monotonic() < deadline:
            self._reap(block=False)
            time.sleep(0.02)
        self._signal(signal.SIGKILL)

    def _start_child(self) -> None:
        # Stop signals stay blocked until the child's pid is recorded here and the child has its own handlers:
        # neither process misses one.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        parent = os.getpid()
        try:
            self.children.add(_fork(lambda: run_worker(self.queue, settings(), parent)))
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        for pid in list(self.children):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                self.children.discard(pid)

    def _reap(self, *, block: bool) -> None:
        try:
            pid, _ = os.waitpid(-1, 0 if block else os.WNOHANG)
        except (ChildProcessError, InterruptedError):
            return
        self.children.discard(pid)


def _fork(work: Callable[[], None]) -> int:
    """Execute `work` in a forked process, which ends afterwards; return its pid."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)
    os._exit(0)
