"""One sandbox task from its request to its committed result: run it, retry infrastructure failures, commit."""

from asyncio import sleep
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from resources.sandbox.evidence import setup_report
from resources.sandbox.sandbox_port import ChunkSink, Sandbox, SetupFailed, SetupReport, TaskContext
from sisu_pipeline.contracts.sandbox_request import ErrorCode, Metrics, SandboxResult
from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.steps.execute import MAX_ATTEMPTS, Task
from sisu_pipeline.store.outputs.run_setups import UsedSetup
from sisu_pipeline.store.tasks import Outcome, Try

FIRST_BACKOFF_S = 1.0
BACKOFF_FACTOR = 2.0


@dataclass(frozen=True)
class TaskStore:
    """Stores the tries and the results of tasks. The worker commits the rows of many tasks in one transaction."""

    count_tries: Callable[[str, str], Awaitable[int]]
    store_try: Callable[[Try], Awaitable[None]]
    store_outcome: Callable[[Outcome], Awaitable[None]]
    record_setup: Callable[[str, UsedSetup], Awaitable[None]]


async def run_task(
    sandbox: Sandbox, store: TaskStore, run_id: str, task: Task, on_chunk: ChunkSink
) -> SandboxResult:
    """Run a task to its final result and commit it. Infrastructure failures are retried, up to three attempts.

    The task key is the provider's idempotency key: a request repeated after a crash adopts the execution that the
    provider already has. A sandbox of another provider than the approved plan names executes nothing. Raises
    SetupFailed when the setup of the run failed, which is then recorded.
    """
    attempt = await store.count_tries(run_id, task.key) + 1
    while True:
        context = TaskContext(run_id, StepId.EXECUTE, attempt, idempotency_key=task.key, setup=task.setup)
        crash_point("task.run.before")
        if task.provider == sandbox.name:
            result = await _run(sandbox, store, task, context, on_chunk)
        else:
            result = _refused(sandbox, task)
        crash_point("task.run.after")
        if not result.err_code.is_retryable or attempt >= MAX_ATTEMPTS:
            await store.store_outcome(Outcome(run_id, task, attempt, sandbox.name, result))
            return result
        await store.store_try(Try(run_id, task.key, attempt, result.err_code, result.stderr[:1000]))
        crash_point("task.try.after")
        await sleep(FIRST_BACKOFF_S * BACKOFF_FACTOR ** (attempt - 1))
        attempt += 1


async def _run(
    sandbox: Sandbox, store: TaskStore, task: Task, context: TaskContext, on_chunk: ChunkSink
) -> SandboxResult:
    """Run a task, and record how its setup was found."""
    try:
        result = await sandbox.run(task.request, context, on_chunk)
    except SetupFailed as failure:
        await _record(sandbox, store, task, context, failure.report)
        raise
    await _record(sandbox, store, task, context, setup_report(result))
    return result


async def _record(
    sandbox: Sandbox, store: TaskStore, task: Task, context: TaskContext, report: SetupReport | None
) -> None:
    if task.setup is not None and report is not None:
        used = UsedSetup(setup_sha256=task.setup.sha256, provider=sandbox.name, **vars(report))
        await store.record_setup(context.run_id, used)


def _refused(sandbox: Sandbox, task: Task) -> SandboxResult:
    message = (
        f"the approved plan names the sandbox provider {task.provider}, and this worker has {sandbox.name}: "
        "start the workers with the provider of the plan, then retry the run"
    )
    return SandboxResult(
        exit=-1,
        stdout="",
        stderr=message,
        metrics=Metrics(wall_ms=0, cpu_ms=0, mem_peak_mb=0),
        sandbox_ref="",
        err_code=ErrorCode.BOOT_FAIL,
        task_key=task.key,
        raw={"provider": sandbox.name, "refused": {"code": "PROVIDER_DIFFERS", "message": message}},
    )
