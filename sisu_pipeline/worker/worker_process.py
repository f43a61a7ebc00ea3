"""Workers: `python -m sisu_pipeline.worker --queue intentQ|sbxQ --processes N`.

An intent worker group preloads everything once and forks its processes, which share that memory; each
executes one Dagster run at a time and is replaced after a set number of them. A sandbox worker is one
asynchronous process that executes many tasks. SIGTERM: take nothing new, finish within the deadline, else
leave the rest to recovery and go.
"""

import argparse
import ctypes
import gc
import os
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import psycopg
from dbos import DBOS
from dbos._dbos import _get_dbos_instance

from resources import connection_fence
from sisu_pipeline.contracts.intent import QueueName
from sisu_pipeline.engine.database_retry import DATABASE_AWAY
from sisu_pipeline.queueing import dbos_queues
from sisu_pipeline.queueing.sandbox_provider import check_sandbox
from sisu_pipeline.recovery import run_recovery, worker_liveness
from sisu_pipeline.recovery.lost_claims import Claims
from sisu_pipeline.settings import Settings, name_connections, settings
from sisu_pipeline.workflow.dependencies import dependencies

STOP_DEADLINE_S = 6.0
_SHORTEST_LIFE_S = 1.0
_M_ARENA_MAX = -8
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def main() -> None:
    """The command line of a worker group."""
    parser = argparse.ArgumentParser(prog="sisu worker")
    parser.add_argument("--queue", choices=[QueueName.INTENT, QueueName.SANDBOX], required=True)
    parser.add_argument("--processes", type=int, default=None)
    arguments = parser.parse_args()
    run_group(QueueName(arguments.queue), arguments.processes)


def run_group(queue: QueueName, processes: int | None) -> None:
    """Run workers on a queue until SIGTERM or SIGINT; returns when all have stopped."""
    intents = queue is QueueName.INTENT
    count = processes or (settings().intent_queue_worker_concurrency if intents else 1)
    if intents:
        preload()
    else:
        # A provider that refuses this machine: better no worker than tasks that fail for want of a sandbox.
        check_sandbox(settings())
    Group(queue, count).run()


def preload() -> None:
    """Import what every intent worker needs, before forking: no connection, no thread."""
    _share_one_heap()
    from sisu_pipeline.worker.segment_runner import repository

    repository().get_all_jobs()
    # What is loaded now stays for ever: left out of collections, its pages stay shared with the forked processes.
    gc.collect()
    gc.freeze()


def _share_one_heap() -> None:
    """Have all threads allocate from one heap: with one each, glibc gives back little of what a step has freed.

    A run of ten thousand tasks has a hundred threads; they hold the interpreter's lock while they allocate, so
    a shared heap costs them nothing. Other C libraries have no such switch, and no such heaps.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


class Group:
    """Forked worker processes, started again when one dies."""

    def __init__(self, queue: QueueName, count: int) -> None:
        self.queue = queue
        self.count = count
        self.children: set[int] = set()
        self.stopping = False

    def run(self) -> None:
        """Keep `count` children alive until asked to stop, then wait for them."""
        for number in _STOP_SIGNALS:
            signal.signal(number, self._stop)
        while not self.stopping:
            while len(self.children) < self.count and not self.stopping:
                self._start_child()
            forked = time.monotonic()
            self._reap(block=True)
            # Children that die at once (the database is away) are not replaced at once.
            if not self.stopping and time.monotonic() - forked < _SHORTEST_LIFE_S:
                time.sleep(_SHORTEST_LIFE_S / 2)
        deadline = time.monotonic() + STOP_DEADLINE_S + 1
        while self.children and time.monotonic() < deadline:
            self._reap(block=False)
            time.sleep(0.02)
        self._signal(signal.SIGKILL)

    def _start_child(self) -> None:
        # A signal to stop waits until the child is known here and listens there: none is missed by either.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
        parent = os.getpid()
        try:
            self.children.add(_fork(lambda: run_worker(self.queue, settings(), parent)))
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)

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


def run_worker(queue: QueueName, configuration: Settings, parent: int) -> None:
    """One worker process, until SIGTERM, its recycling, or the death of its parent."""
    stop = threading.Event()
    for number in _STOP_SIGNALS:
        signal.signal(number, lambda *_: stop.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
    busy = _Busy()
    # Workflows are registered before launch: a queue may hand one over at once.
    close: Callable[[], None] = _nothing_to_close
    if queue is QueueName.INTENT:
        _register_segments(busy, configuration.sisu_run_recycle, stop)
    else:
        close = _register_tasks(busy, configuration)
    version = configuration.dbos__appversion
    # A fresh name per process: what a dead process held is given back, never resumed by a namesake.
    executor = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    if queue is QueueName.INTENT:
        connection_fence.stop_when_a_connection_breaks(worker_liveness.stop_at_once)
    name = _application_name(queue, executor, version)
    # Every connection of this process carries the name, so that recovery can end them all.
    name_connections(name)
    worker_liveness.announce(dependencies().database, executor, name, worker_liveness.stop_at_once)
    DBOS(
        config={
            "name": dbos_queues.APPLICATION,
            "system_database_url": dependencies().database.sqlalchemy_url("psycopg"),
            "dbos_system_schema": dbos_queues.SCHEMA,
            "application_version": version,
            "executor_id": executor,
            "db_engine_kwargs": {"connect_args": {"application_name": name}},
            "log_level": "WARNING",
            "run_migrations": False,
        }
    )
    DBOS.listen_queues([queue])
    dbos_queues.register(dependencies().database, queue, configuration)
    DBOS.launch()
    dbos_queues.remember_limits()
    dbos_queues.guard(dependencies().database)
    claims = Claims(dependencies().database, executor, dbos_queues.executing)
    _wait(stop, run_recovery.Observer(dependencies().database), claims, parent)
    _finish(busy, close)


def _application_name(queue: QueueName, executor: str, version: str) -> str:
    """What `pg_stat_activity` calls this process, for `sisu doctor`; of its end Postgres may cut off some."""
    return f"sisu-worker {queue} {executor[-8:]} {version}"


class _Busy:
    """How many workflows this process executes now, and how many it has executed."""

    def __init__(self) -> None:
        self.now = 0
        self.done = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self.now += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.now -= 1
            self.done += 1


def _register_segments(busy: _Busy, recycle_after: int, stop: threading.Event) -> None:
    from sisu_pipeline.worker.segment_runner import instance, run_segment

    instance()  # opens the pooled storage before the first run asks for it

    @DBOS.workflow(name=dbos_queues.SEGMENT_WORKFLOW, max_recovery_attempts=1000)
    def segment(dagster_run_id: str) -> None:
        with busy:
            try:
                run_segment(dagster_run_id)
            except DATABASE_AWAY:
                # It would be taken for executed, and what was left of it never be done.
                connection_fence.connection_broke()
                raise
        if busy.done >= recycle_after:
            stop.set()


def _register_tasks(busy: _Busy, configuration: Settings) -> Callable[[], None]:
    """Returns how to give the sandbox provider back."""
    from sisu_pipeline.worker.task_worker import TaskWorker

    worker = TaskWorker(configuration)

    @DBOS.workflow(name=dbos_queues.TASK_WORKFLOW, max_recovery_attempts=1000)
    async def task(workflow_id: str, position: int, retry: int) -> str:
        with busy:
            return await worker.run(workflow_id, position, retry)

    return worker.close


def _nothing_to_close() -> None:
    """An intent worker holds nothing but connections."""


def _wait(stop: threading.Event, observer: run_recovery.Observer, claims: Claims, parent: int) -> None:
    """Until asked to stop or left alone; meanwhile, look whether a fellow worker has died, or a claim got lost."""
    # The parent's id is from before the fork: it may have died while this process was starting.
    while not stop.wait(run_recovery.LOOK_EVERY_SECONDS / 2):
        if os.getppid() != parent:
            return
        with suppress(psycopg.Error):
            observer.recover()
            claims.give_back()


def _finish(busy: _Busy, close: Callable[[], None]) -> None:
    """Take nothing new; wait for what runs, but not for ever: its rows and locks let others go on."""
    for event in _get_dbos_instance().background_thread_stop_events:
        event.set()
    deadline = time.monotonic() + STOP_DEADLINE_S
    while busy.now and time.monotonic() < deadline:
        time.sleep(0.02)
    if not busy.now:
        close()
    # Threads of DBOS and Dagster may be blocked on what they wait for; everything durable is committed.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _fork(work: Callable[[], None]) -> int:
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


if __name__ == "__main__":
    main()
