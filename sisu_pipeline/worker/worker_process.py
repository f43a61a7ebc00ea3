"""One worker process of a group (`worker_group.py`): its registration with DBOS, its work, its end.

An intent worker executes one Dagster run at a time and is replaced after `SISU_RUN_RECYCLE` of them. A sandbox
worker executes many tasks, a planner worker a few agents, on an event loop. On SIGTERM a worker takes no new work
and finishes what it executes within `STOP_DEADLINE_S`, but ends its agents at once; recovery requeues the rest.
"""

import logging
import os
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psycopg
from dbos import DBOS

from resources import connection_fence
from resources.failure_classification import is_database_away, is_out_of_resources, kind_of
from resources.repeated_errors import RepeatedErrors
from sisu_pipeline.contracts.intent import QueueName
from sisu_pipeline.domain import worker_names
from sisu_pipeline.domain.failure_kind import FailureKind
from sisu_pipeline.queueing import dbos_queues
from sisu_pipeline.recovery import run_recovery, worker_liveness
from sisu_pipeline.recovery.lost_claims import LostClaims
from sisu_pipeline.settings import Settings, name_connections
from sisu_pipeline.store.queues import worker_sessions
from sisu_pipeline.workflow.dependencies import dependencies

logger = logging.getLogger(__name__)

STOP_DEADLINE_S = 6.0
_AGENTS_DEADLINE_S = 1.0
"""A planner worker waits no longer: agents take minutes, and ending them in order takes seconds."""
_RESOURCES_PAUSE_S = 10.0
"""How long a worker without disk space, memory or connections waits before another one tries the segment again."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_MAX_RECOVERIES = 1000


def run_worker(queue: QueueName, configuration: Settings, parent: int) -> None:
    """Run one worker until SIGTERM, its recycling, or the end of the process `parent`. Does not return.

    The workflow is registered before DBOS starts, since the queue may deliver work at once. The process has an
    executor id of its own, so the work of a dead process is requeued and never resumed by its successor.
    """
    stop = threading.Event()
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: stop.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    busy = _Busy()
    ending = _Ending()
    if queue is QueueName.INTENT:
        _register_segments(busy, configuration.sisu_run_recycle, stop)
    elif queue is QueueName.COMPILE:
        ending = _register_questions(busy, configuration)
    else:
        ending = _register_tasks(busy, configuration)
    version = configuration.dbos__appversion
    executor = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    if queue is QueueName.INTENT:
        connection_fence.stop_when_a_connection_breaks(worker_liveness.stop_at_once)
    name = worker_names.connection_name(queue, executor, version)
    # Recovery ends every connection of a dead or frozen worker by this name.
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
    _register_queue(queue, configuration)
    DBOS.launch()
    dbos_queues.cache_limits()
    dbos_queues.fence_connections(dependencies().database)
    claims = LostClaims(dependencies().database, executor, dbos_queues.executing)
    _wait(stop, run_recovery.WorkerMonitor(dependencies()), claims, parent)
    _finish(busy, ending, executor)


def _nothing_to_close() -> None:
    """An intent worker holds nothing but connections."""


@dataclass(frozen=True)
class _Ending:
    """How a worker ends: how long it waits for its work, what it closes, and whether that ends the work left."""

    deadline_s: float = STOP_DEADLINE_S
    close: Callable[[], None] = _nothing_to_close
    ends_work: bool = False


class _Busy:
    """Counts the workflows this process executes now, and those it has executed."""

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


def _register_queue(queue: QueueName, configuration: Settings) -> None:
    """Write the limits of the queue, which depend on how many workers serve it: this one has announced itself."""
    with dependencies().database.connect() as connection:
        worker_sessions.lock_limits(connection, queue)
        workers = sum(worker.queue == queue for worker in worker_sessions.connected(connection))
        dbos_queues.register(dependencies().database, queue, configuration, workers)


def _register_segments(busy: _Busy, recycle_after: int, stop: threading.Event) -> None:
    from sisu_pipeline.worker.segment_runner import fail_segment, instance, run_segment, segment_request

    instance()  # opens the pooled storage before the first run needs it

    @DBOS.workflow(name=dbos_queues.SEGMENT_WORKFLOW, max_recovery_attempts=_MAX_RECOVERIES)
    def segment(*arguments: str | None) -> None:
        with busy:
            request = segment_request(*arguments)
            try:
                run_segment(request)
            except Exception as failure:
                if is_out_of_resources(failure):
                    # Another attempt at once would fail too, and a few of them would park the run.
                    stop.wait(_RESOURCES_PAUSE_S)
                    worker_liveness.stop_at_once()
                if is_database_away(failure) or kind_of(failure) is FailureKind.FATAL:
                    # Ending normally would mark the segment as executed, and the rest of it would never be done.
                    worker_liveness.stop_at_once()
                fail_segment(request, failure)
                raise
        if busy.done >= recycle_after:
            stop.set()


def _register_tasks(busy: _Busy, configuration: Settings) -> _Ending:
    """Register the task workflow; at the end, the sandbox provider is closed unless tasks are still running."""
    from sisu_pipeline.worker.task_worker import TaskWorker

    worker = TaskWorker(configuration)

    @DBOS.workflow(name=dbos_queues.TASK_WORKFLOW, max_recovery_attempts=_MAX_RECOVERIES)
    async def task(workflow_id: str, position: int, retry: int) -> str:
        with busy:
            return await worker.run(workflow_id, position, retry)

    return _Ending(close=worker.close)


def _register_questions(busy: _Busy, configuration: Settings) -> _Ending:
    """Register the workflow of questions; at the end, their agents are ended."""
    from sisu_pipeline.worker.question_worker import QuestionWorker

    worker = QuestionWorker(configuration)

    @DBOS.workflow(name=dbos_queues.QUESTION_WORKFLOW, max_recovery_attempts=_MAX_RECOVERIES)
    async def question(op_key: str) -> str:
        with busy:
            return await worker.run(op_key)

    return _Ending(_AGENTS_DEADLINE_S, worker.close, ends_work=True)


def _wait(stop: threading.Event, monitor: run_recovery.WorkerMonitor, claims: LostClaims, parent: int) -> None:
    """Wait for a stop signal or the parent's end; meanwhile look for dead workers and for lost claims."""
    errors = RepeatedErrors(logger.warning, "looking for dead workers")
    # The parent's id was read before the fork: the parent may have ended while this process was starting.
    while not stop.wait(run_recovery.CHECK_INTERVAL_SECONDS / 2):
        if os.getppid() != parent:
            return
        with errors.tolerated(psycopg.Error):
            monitor.recover()
            claims.requeue()


def _finish(busy: _Busy, ending: _Ending, executor: str) -> None:
    """Take no new work, wait for running work until the deadline, and end the process."""
    dbos_queues.stop_claiming()
    deadline = time.monotonic() + ending.deadline_s
    while busy.now and time.monotonic() < deadline:
        time.sleep(0.02)
    if busy.now:
        with suppress(psycopg.Error):
            run_recovery.record_stop(dependencies(), executor)
    if ending.ends_work or not busy.now:
        ending.close()
    # Exit without joining threads: those of DBOS and Dagster may be blocked, and everything durable is committed.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
