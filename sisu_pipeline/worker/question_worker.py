"""A planner worker's execution of questions from `compileQ`; a canceled run's agent is killed at once."""

import asyncio
import logging
import threading
from contextlib import suppress
from typing import NoReturn

import psycopg

from resources.failure_classification import kind_of, sentence_of
from resources.notifications import listen
from resources.repeated_errors import RepeatedErrors
from resources.retry import TEN_MINUTES, retry_passing_async
from sisu_pipeline.domain.failure_kind import FailureKind
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.queueing.agent_provider import QuestionPlanner, agent_settings, open_agent, remove_leftovers
from sisu_pipeline.queueing.question_service import QuestionService
from sisu_pipeline.recovery.worker_liveness import stop_at_once
from sisu_pipeline.settings import Settings
from sisu_pipeline.store import plan_questions
from sisu_pipeline.store.queues import outbox
from sisu_pipeline.workflow.dependencies import FIXTURES, dependencies
from sisu_pipeline.workflow.run_failure import end_run

_RECONNECT_SECONDS = 1.0
_CLOSE_SECONDS = 4.0
CANCELED = "CANCELED"

logger = logging.getLogger(__name__)


class QuestionWorker:
    """Asks questions on the process's event loop, as many at once as the settings allow."""

    def __init__(self, configuration: Settings) -> None:
        self._configuration = configuration
        self._planner: QuestionPlanner | None = None
        self._service: QuestionService | None = None
        self._opening = asyncio.Lock()
        self._active: dict[str, tuple[str, asyncio.Task[str]]] = {}
        self._canceled: set[str] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = threading.Event()
        # Not with the first question: until then, the files of intents would stay.
        remove_leftovers(configuration)

    async def run(self, op_key: str) -> str:
        """Ask one question until it is settled.

        Passing failures around the agent are retried for ten minutes each. Any other failure here is not the
        agent's and would leave the question without a row, for which the run would wait forever: it ends the run,
        or the round of a plan that a person requested changes to. A fatal one ends this process.
        """
        try:
            run_id = await retry_passing_async(lambda: asyncio.to_thread(_run_of, op_key), TEN_MINUTES)
            service = await retry_passing_async(self._opened, TEN_MINUTES)
            return await self._run(service, run_id, op_key)
        except Exception as failure:
            if kind_of(failure) is FailureKind.FATAL:
                stop_at_once()
            error = f"the plan could not be requested or stored: {sentence_of(failure)}"
            await asyncio.to_thread(self._give_up, op_key, error)
            raise

    def close(self) -> None:
        """End every agent and remove its files; for the main thread of a process about to end.

        The questions stay unanswered, and recovery requeues them: an agent that is ended here has not failed.
        """
        if self._loop is not None:
            closed = asyncio.run_coroutine_threadsafe(self._close(), self._loop)
            with suppress(TimeoutError):
                closed.result(_CLOSE_SECONDS)

    def _give_up(self, op_key: str, error: str) -> None:
        with dependencies().database.connect() as connection:
            question = plan_questions.get(connection, op_key)
        logger.warning("run %s: %s", question.run_id, error)
        if question.is_revision and self._service is not None:
            self._service.give_up(op_key, error)
        else:
            end_run(dependencies(), question.run_id, RunStatus.RETRIES_EXCEEDED, error)

    async def _close(self) -> None:
        self._closing.set()
        works = [work for _, work in self._active.values()]
        for work in works:
            work.cancel()
        if works:
            await asyncio.wait(works, timeout=_CLOSE_SECONDS / 2)
        if self._planner is not None:
            await asyncio.to_thread(self._planner.close)

    async def _run(self, service: QuestionService, run_id: str, op_key: str) -> str:
        if run_id in self._canceled:
            return CANCELED
        if self._closing.is_set():
            return await _wait_for_the_end()
        work = asyncio.create_task(service.settle(op_key))
        self._active[op_key] = (run_id, work)
        try:
            return await work
        except asyncio.CancelledError:
            if run_id in self._canceled:
                return CANCELED
            if self._closing.is_set():
                return await _wait_for_the_end()
            raise
        finally:
            self._active.pop(op_key, None)

    async def _opened(self) -> QuestionService:
        async with self._opening:
            if self._service is None:
                settings = agent_settings(self._configuration)
                self._planner = await asyncio.to_thread(open_agent, self._configuration)
                records = FIXTURES if self._configuration.oc_mode == "record" else None
                self._service = QuestionService(dependencies(), self._planner, settings, records)
                self._loop = asyncio.get_running_loop()
                threading.Thread(target=self._watch, args=(self._loop,), daemon=True, name="cancel-watch").start()
            return self._service

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
        for asked_by, work in self._active.values():
            if asked_by == run_id:
                work.cancel()


async def _wait_for_the_end() -> NoReturn:
    """Wait for the end of the process. A workflow that returned or failed here would count as executed."""
    while True:
        await asyncio.sleep(_RECONNECT_SECONDS)


def _run_of(op_key: str) -> str:
    with dependencies().database.connect() as connection:
        return plan_questions.get(connection, op_key).run_id
