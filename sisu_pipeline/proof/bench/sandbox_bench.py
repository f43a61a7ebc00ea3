"""Local sandboxes under load, through the whole engine: tasks/s compared with plain processes, and leftovers."""

import asyncio
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from resources.sandbox.local.sandbox_host import LocalSettings
from resources.sandbox.local.self_test import open_local
from resources.sandbox.sandbox_port import TaskContext
from sisu_pipeline.contracts.sandbox_request import ErrorCode, SandboxRequest
from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.proof.bench import sandbox_leftovers
from sisu_pipeline.proof.bench.bench_stack import NO_LIMITS, MeasuredStack, measured_stack_in, temporary_folder
from sisu_pipeline.proof.bench.engine_bench import TIMEOUT_S, Report, ReportStatus

COMMAND = "python3 -I -S -c 'print(1)'"
"""Starting Python: the smallest realistic test."""

_PATH = f"/usr/local/bin:/usr/bin:/bin:{sys.base_prefix}/bin"
_WARM_UP = 2


def live_variables(concurrency: int, sandbox_workers: int) -> dict[str, str]:
    """The variables of a stack with local sandboxes; `concurrency` is the total over its sandbox workers."""
    each = str(max(1, concurrency // sandbox_workers))
    return {"SBX_MODE": "live", "SBX_PROVIDER": "local", **NO_LIMITS, "SBX_QUEUE_WORKER_CONCURRENCY": each}


def sandboxes(
    intents: int, tasks: int, concurrency: int, workers: int, sandbox_workers: int, report_status: ReportStatus
) -> Report:
    """Run `intents` × `tasks` Python starts through the engine, by the provider alone, and as plain processes.

    `passed`: every task has one successful result, and nothing is left after the last task and after the stack.
    """
    with temporary_folder() as home:
        before = sandbox_leftovers.take_inventory(home)
        with measured_stack_in(
            home, live_variables(concurrency, sandbox_workers), workers, sandbox_workers
        ) as stack:
            engine = _through_the_engine(stack, intents, tasks, report_status)
            report_status("looking for leftovers")
            left_idle = sandbox_leftovers.find_leftovers(home, before, stack_is_running=True)
            idle = sandbox_leftovers.take_inventory(home)
        left = sandbox_leftovers.find_leftovers(home, before, stack_is_running=False)
        after = sandbox_leftovers.take_inventory(home)
        report_status("the provider alone")
        provider = asyncio.run(_by_provider(home / "alone", intents * tasks, concurrency))
    report_status("plain processes")
    plain = _as_plain_processes(intents * tasks, concurrency)
    expected = intents * tasks
    whole = engine["results"] == engine["succeeded"] == expected and engine["repeated"] == 0
    return {
        "passed": whole and not (left or left_idle),
        "command": COMMAND,
        "tasks": expected,
        "at_once": concurrency,
        "engine": engine,
        "provider_alone": provider,
        "plain": plain,
        "engine_to_plain": round(engine["tasks_per_s"] / plain["tasks_per_s"], 3),
        "provider_to_plain": round(provider["tasks_per_s"] / plain["tasks_per_s"], 3),
        "counted": {"before": before.counts(), "all_ended": idle.counts(), "stack_stopped": after.counts()},
        "left": {"all_ended": left_idle, "stack_stopped": left},
    }


def _through_the_engine(stack: MeasuredStack, intents: int, tasks: int, report_status: ReportStatus) -> Report:
    _run_intents(stack, _WARM_UP, tasks, "warm-up", report_status)
    before = stack.cpu_seconds()
    ids, seconds = _run_intents(stack, intents, tasks, "sandboxes", report_status)
    after = stack.cpu_seconds()
    row = stack.row("bench.sandbox_tasks", workflow_ids=ids)
    return {
        "tasks_per_s": round(intents * tasks / seconds, 1),
        "seconds": round(seconds, 2),
        **row,
        "cpu_ms_per_task": {
            name: round(1000 * (after[name] - before.get(name, 0)) / (intents * tasks), 2) for name in after
        },
    }


def _run_intents(
    stack: MeasuredStack, intents: int, tasks: int, label: str, report_status: ReportStatus
) -> tuple[list[str], float]:
    """Submit all, then approve all; returns the workflow ids and the seconds from first approval to last end."""
    inputs = {"tests": [f"t{number}" for number in range(tasks)], "testCommand": COMMAND}
    ids = [stack.submit(f"{label} {number}", inputs) for number in range(intents)]
    stack.wait_for_status(
        ids, "waiting_input", TIMEOUT_S, lambda n: report_status(f"{label}: parked {n}/{intents}")
    )
    began = time.monotonic()
    for workflow_id in ids:
        stack.approve(workflow_id)
    stack.wait_for_status(ids, "succeeded", TIMEOUT_S, lambda n: report_status(f"{label}: done {n}/{intents}"))
    return ids, time.monotonic() - began


async def _by_provider(home: Path, count: int, concurrency: int) -> Report:
    """Run the same commands in the same sandboxes from one event loop, without the engine."""
    sandbox = open_local(LocalSettings(home))
    limit = asyncio.Semaphore(concurrency)

    async def one(number: int) -> bool:
        key = f"{number:064x}"
        request = SandboxRequest(env_ref="local", cmd=COMMAND, task_key=key, timeout_ms=60_000)
        async with limit:
            result = await sandbox.run(request, TaskContext("bench", StepId.EXECUTE, 1, key), lambda _: None)
        return result.err_code is ErrorCode.NONE

    try:
        began = time.monotonic()
        ended = await asyncio.gather(*map(one, range(count)))
        seconds = time.monotonic() - began
    finally:
        await sandbox.close()
    return {
        "tasks_per_s": round(count / seconds, 1),
        "seconds": round(seconds, 2),
        "failed": ended.count(False),
    }


def _as_plain_processes(count: int, concurrency: int) -> Report:
    """Run the same commands as child processes, with the same concurrency."""

    def one(_: int) -> bool:
        ended = subprocess.run(
            ["/bin/sh", "-c", COMMAND], capture_output=True, cwd=place, env={"PATH": _PATH}, check=False
        )
        return ended.returncode == 0

    with tempfile.TemporaryDirectory(prefix="sisu-bench-") as place, ThreadPoolExecutor(concurrency) as pool:
        began = time.monotonic()
        ended = list(pool.map(one, range(count)))
        seconds = time.monotonic() - began
    return {
        "tasks_per_s": round(count / seconds, 1),
        "seconds": round(seconds, 2),
        "failed": ended.count(False),
    }
