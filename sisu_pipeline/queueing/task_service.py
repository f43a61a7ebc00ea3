"""Execution of tasks in this process: the sandbox, and the rows of many tasks in one transaction."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from resources.postgres_pool import PoolOptions, open_async_pool
from resources.retry import TEN_MINUTES, retry_passing_async
from resources.sandbox.receipts import PostgresReceipts
from resources.sandbox.sandbox_port import Sandbox, SetupFailed
from resources.write_batcher import Batcher
from sisu_pipeline.contracts.sandbox_request import SandboxResult
from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.queueing.live_output import LiveOutput
from sisu_pipeline.queueing.sandbox_provider import open_configured
from sisu_pipeline.queueing.task_runner import TaskStore, run_task
from sisu_pipeline.settings import Settings, settings
from sisu_pipeline.steps.execute import Task
from sisu_pipeline.store import runs, tasks
from sisu_pipeline.store.outputs import run_setups, task_output
from sisu_pipeline.store.outputs.run_setups import UsedSetup
from sisu_pipeline.store.outputs.task_output import Piece
from sisu_pipeline.workflow.dependencies import dependencies
from sisu_pipeline.workflow.run_base import write_approved_tree
from sisu_pipeline.workflow.run_failure import RunEnded, end_run

_MAX_RECORDED = 1024
_RECEIPTS_POOL = PoolOptions(name="sisu-receipts", min_size=1, max_size=4)


@dataclass(frozen=True)
class TaskService:
    """A sandbox, the store of its results, and the live output of its tasks."""

    sandbox: Sandbox
    store: TaskStore
    live: LiveOutput
    delay_s: float = 0
    """A pause before every task, for labs that kill a process while all tasks are running."""

    async def run(self, run_id: str, task: Task) -> SandboxResult:
        """Run one task to its committed result. Ends the run and raises RunEnded when its setup fails."""
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        try:
            with self.live.of_task(run_id, task) as sink:
                return await run_task(self.sandbox, self.store, run_id, task, sink)
        except SetupFailed as failure:
            error = str(failure)
            await retry_passing_async(lambda: asyncio.to_thread(_end_run, run_id, error), TEN_MINUTES)
            raise RunEnded(error) from failure


def _end_run(run_id: str, error: str) -> None:
    end_run(dependencies(), run_id, RunStatus.RETRIES_EXCEEDED, error)


@asynccontextmanager
async def open_task_service(configuration: Settings) -> AsyncIterator[TaskService]:
    """Open the service of these settings. Raises SandboxUnavailable when the provider refuses to start."""
    async with open_async_pool(dependencies().database.url, _RECEIPTS_POOL) as pool:
        sandbox = open_configured(configuration, dependencies().database, PostgresReceipts(pool), _write_tree)
        try:
            live = LiveOutput(_write_output)
            yield TaskService(sandbox, task_store(), live, configuration.chaos_sleep_execute / 1000)
            await live.drain()
        finally:
            await sandbox.close()


async def _write_tree(run_id: str, tree: str, folder: Path) -> None:
    await retry_passing_async(
        lambda: asyncio.to_thread(write_approved_tree, dependencies(), run_id, tree, folder), TEN_MINUTES
    )


async def run_here(workflow_id: str, wanted: Sequence[Task]) -> None:
    """Run tasks in this process until each has its result; for the portable profile."""
    with dependencies().database.connect() as connection:
        run = runs.get(connection, workflow_id)
        done = tasks.finished_positions(connection, run.id)
    async with open_task_service(settings()) as service:
        limit = asyncio.Semaphore(settings().sbx_queue_worker_concurrency)

        async def one(task: Task) -> None:
            async with limit:
                await service.run(run.id, task)

        open_tasks = [task for task in wanted if not any(task.position in places for places in done)]
        await asyncio.gather(*map(one, open_tasks))


def task_store() -> TaskStore:
    """A store in Postgres that commits the rows of many tasks in one transaction.

    A passing failure repeats the commit, never the task.
    """
    outcomes = Batcher(_store_outcomes)
    failed = Batcher(_store_tries)
    counts = Batcher(_count_tries)

    async def count(run_id: str, task_key: str) -> int:
        return await retry_passing_async(lambda: counts.submit((run_id, task_key)), TEN_MINUTES)

    async def store_try(attempt: tasks.Try) -> None:
        await retry_passing_async(lambda: failed.submit(attempt), TEN_MINUTES)

    async def store_outcome(outcome: tasks.Outcome) -> None:
        await retry_passing_async(lambda: outcomes.submit(outcome), TEN_MINUTES)

    return TaskStore(count, store_try, store_outcome, _record_setup())


def _record_setup() -> Callable[[str, UsedSetup], Awaitable[None]]:
    """Records setups: one row for all tasks of a run that this process executes."""
    recorded: dict[tuple[str, str], None] = {}

    async def record(run_id: str, used: UsedSetup) -> None:
        if (run_id, used.layer_sha256) in recorded:
            return
        await retry_passing_async(lambda: asyncio.to_thread(_store_setup, run_id, used), TEN_MINUTES)
        if used.outcome != "failed":
            recorded[run_id, used.layer_sha256] = None
            while len(recorded) > _MAX_RECORDED:
                del recorded[next(iter(recorded))]

    return record


def _store_setup(run_id: str, used: UsedSetup) -> None:
    with dependencies().database.connect() as connection:
        run_setups.record(connection, run_id, used)


def _store_outcomes(outcomes: list[tasks.Outcome]) -> list[None]:
    with dependencies().database.connect() as connection:
        tasks.store_outcomes(connection, outcomes, dependencies().blobs)
        crash_point("task.commit.before")
    crash_point("task.commit.after")
    return [None] * len(outcomes)


def _store_tries(failed: list[tasks.Try]) -> list[None]:
    with dependencies().database.connect() as connection:
        tasks.store_tries(connection, failed)
    return [None] * len(failed)


def _count_tries(asked: list[tuple[str, str]]) -> list[int]:
    with dependencies().database.connect() as connection:
        counts = tasks.tries_of(connection, asked)
    return [counts[key] for _, key in asked]


def _write_output(pieces: list[Piece]) -> None:
    with dependencies().database.connect() as connection:
        task_output.append(connection, pieces)
        task_output.trim(connection)
