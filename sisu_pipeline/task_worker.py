"""What a sandbox worker does with a task from `sbxQ`: look it up, run it, commit it."""

import asyncio
from collections import OrderedDict
from contextlib import AsyncExitStack

from sisu_pipeline.execution import plan_tasks
from sisu_pipeline.services import services
from sisu_pipeline.settings import Settings
from sisu_pipeline.steps.execute import Task
from sisu_pipeline.store import runs
from sisu_pipeline.task_service import TaskService, open_task_service

_REMEMBERED_RUNS = 64


class TaskWorker:
    """Runs tasks on the process's event loop; a run's tasks are built once and remembered."""

    def __init__(self, configuration: Settings) -> None:
        self._configuration = configuration
        self._service: TaskService | None = None
        self._opening = asyncio.Lock()
        self._open = AsyncExitStack()
        self._plans: OrderedDict[str, asyncio.Future[tuple[str, tuple[Task, ...]]]] = OrderedDict()

    async def run(self, workflow_id: str, position: int) -> str:
        """One task to its committed result; returns its error code for the queue's own record."""
        run_id, tasks = await self._plan(workflow_id)
        service = await self._opened()
        result = await service.run(run_id, tasks[position])
        return str(result.err_code)

    async def _opened(self) -> TaskService:
        async with self._opening:
            if self._service is None:
                self._service = await self._open.enter_async_context(open_task_service(self._configuration))
            return self._service

    async def _plan(self, workflow_id: str) -> tuple[str, tuple[Task, ...]]:
        future = self._plans.get(workflow_id)
        if future is None:
            future = asyncio.ensure_future(asyncio.to_thread(_plan_of, workflow_id))
            self._plans[workflow_id] = future
            while len(self._plans) > _REMEMBERED_RUNS:
                self._plans.popitem(last=False)
        try:
            return await asyncio.shield(future)
        except Exception:
            self._plans.pop(workflow_id, None)
            raise


def _plan_of(workflow_id: str) -> tuple[str, tuple[Task, ...]]:
    with services().database.connect() as connection:
        run_id = runs.get(connection, workflow_id).id
    return run_id, plan_tasks(services(), workflow_id)
