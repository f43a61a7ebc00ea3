"""A sandbox worker's execution of tasks from `sbxQ`: plan, run and commit, or drop a task of a canceled run."""

import asyncio
import logging
import threading
from collections import OrderedDict, defaultdict
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

import psycopg

from resources.failure_classification import kind_of, sentence_of
from resources.notifications import listen
from resources.repeated_errors import RepeatedErrors
from resources.retry import TEN_MINUTES, retry_passing_async
from sisu_pipeline.contracts.sandbox_request import SandboxResult
from sisu_pipeline.domain.failure_kind import FailureKind
from sisu_pipeline.domain.identity import run_id
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.queueing.task_service import TaskService, open_task_service
from sisu_pipeline.recovery.worker_liveness import stop_at_once
from sisu_pipeline.settings import Settings
from sisu_pipeline.steps.execute import FanOut
from sisu_pipeline.store.queues import outbox
from sisu_pipeline.workflow.dependencies import dependencies
from sisu_pipeline.workflow.run_failure import RunEnded, end_run
from sisu_pipeline.workflow.task_planning import plan_run

_MAX_CACHED_PLANS = 64
_RECONNECT_SECONDS = 1.0
_CLOSE_SECONDS = 2.0
CANCELED = "CANCELED"
SETUP_FAILED = "SETUP_FAILED"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Plan:
    """The tasks of one retry of a run."""

    run_id: str
    tasks: FanOut


class TaskWorker:
    """Runs tasks on the process's event loop. The plans of recent runs are cached."""

    def __init__(self, configuration: Settings) -> None:
        self._configuration = configuration
        self._service: TaskService | None = None
        self._opening = asyncio.Lock()
        self._open = AsyncExitStack()
        self._plans: OrderedDict[tuple[str, int], asyncio.Future[_Plan]] = OrderedDict()
        self._active: defaultdict[str, set[asyncio.Task[SandboxResult]]] = defaultdict(set)
        self._canceled: set[str] = set()
        self._without_setup: set[tuple[str, int]] = set()
        self._closing = False
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self, workflow_id: str, position: int, retry: int) -> str:
        """Run one task to its committed result; return its error code, for the record of the queue.

        Passing failures before the task and at its commit are retried for ten minutes each, never the task itself.
        Any other failure here is not the task's and leaves it without a row, for which ExecuteST would wait
        forever: it ends the run. A fatal one ends this process.
        """
        try:
            plan = await retry_passing_async(lambda: self._plan(workflow_id, retry), TEN_MINUTES)
            if (workflow_id, retry) in self._without_setup:
                return SETUP_FAILED
            service = await retry_passing_async(self._opened, TEN_MINUTES)
            return await self._run(service, plan, position)
        except RunEnded:
            # Execute no further task of this retry; the next retry prepares the setup again.
            self._without_setup.add((workflow_id, retry))
            return SETUP_FAILED
        except Exception as failure:
            if kind_of(failure) is FailureKind.FATAL:
                stop_at_once()
            error = f"task {position} could not be run or stored: {sentence_of(failure)}"
            logger.warning("run %s: %s", run_id(workflow_id), error)
            await asyncio.to_thread(end_run, dependencies(), run_id(workflow_id), RunStatus.RETRIES_EXCEEDED, error)
            raise

    def close(self) -> None:
        """Close the sandbox provider if no task is running; for the main thread of a process about to end.

        Running tasks are left to recovery: killed here, they would get a result that is not their own.
        """
        if self._loop is not None:
            closed = asyncio.run_coroutine_threadsafe(self._close(), self._loop)
            with suppress(TimeoutError):
                closed.result(_CLOSE_SECONDS)

    async def _close(self) -> None:
        self._closing = True
        if not self._active:
            await self._open.aclose()

    async def _run(self, service: TaskService, plan: _Plan, position: int) -> str:
        if plan.run_id in self._canceled:
            return CANCELED
        if self._closing:
            await asyncio.Event().wait()  # the process ends, and recovery requeues the task
        work = asyncio.create_task(service.run(plan.run_id, plan.tasks[position]))
        self._active[plan.run_id].add(work)
        try:
            return str((await work).err_code)
        except asyncio.CancelledError:
            if plan.run_id in self._canceled:
                return CANCELED
            raise
        finally:
            self._active[plan.run_id].discard(work)
            if not self._active[plan.run_id]:
                del self._active[plan.run_id]

    async def _opened(self) -> TaskService:
        async with self._opening:
            if self._service is None:
                self._service = await self._open.enter_async_context(open_task_service(self._configuration))
                self._loop = asyncio.get_running_loop()
                threading.Thread(target=self._watch, args=(self._loop,), daemon=True, name="cancel-watch").start()
            return self._service

    async def _plan(self, workflow_id: str, retry: int) -> _Plan:
        key = (workflow_id, retry)
        future = self._plans.get(key)
        if future is None:
            future = asyncio.ensure_future(asyncio.to_thread(self._plan_of, workflow_id, retry))
            self._plans[key] = future
            while len(self._plans) > _MAX_CACHED_PLANS:
                self._plans.popitem(last=False)
        try:
            return await asyncio.shield(future)
        except Exception:
            self._plans.pop(key, None)
            raise

    def _plan_of(self, workflow_id: str, retry: int) -> _Plan:
        run, tasks = plan_run(dependencies(), workflow_id, retry)
        if run.status is RunStatus.CANCELED:
            self._canceled.add(run.id)
        return _Plan(run.id, tasks)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen for cancellations while the process runs; read those missed during an interruption."""
        errors = RepeatedErrors(logger.warning, "listening for cancellations")
        while True:
            with errors.tolerated(psycopg.Error), dependencies().database.connect(autocommit=True) as session:
                listen(session, "sisu_canceled")
                for canceled in outbox.canceled_lately(session):
                    loop.call_soon_threadsafe(self._cancel, canceled)
                for notice in session.notifies():
                    loop.call_soon_threadsafe(self._cancel, notice.payload)
            threading.Event().wait(_RECONNECT_SECONDS)

    def _cancel(self, run_id: str) -> None:
        self._canceled.add(run_id)
        for work in self._active.get(run_id, ()):
            work.cancel()
