"""Local sandboxes under load, through the whole engine: tasks/s beside plain processes, and what is left."""

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
from sisu_pipeline.proof.bench.bench_stack import NO_LIMITS, Stage, folder, stage_in
from sisu_pipeline.proof.bench.engine_bench import TIMEOUT_S, Progress, Report

COMMAND = "python3 -I -S -c 'print(1)'"
"""A Python start: the smallest thing a test is."""

_PATH = f"/usr/local/bin:/usr/bin:/bin:{sys.base_prefix}/bin"
_WARM_UP = 2


def live(concurrency: int, sandbox_workers: int) -> dict[str, str]:
    """The settings of a stack whose tasks run in local sandboxes, so many at once over all its workers."""
    each = str(max(1, concurrency // sandbox_workers))
    return {"SBX_MODE": "live", "SBX_PROVIDER": "local", **NO_LIMITS, "SBX_QUEUE_WORKER_CONCURRENCY": each}


def sandboxes(
    intents: int, tasks: int, concurrency: int, workers: int, sandbox_workers: int, progress: Progress
) -> Report:
    """`intents` × `tasks` Python starts through the engine, by the provider alone, and as plain processes.

    `passed`: every task has one good result, and nothing is left when all have ended, nor when the stack has.
    """
    with folder() as home:
        before = sandbox_leftovers.take(home)
        with stage_in(home, live(concurrency, sandbox_workers), workers, sandbox_workers) as stack:
            engine = _through_the_engine(stack, intents, tasks, progress)
            progress("looking for what is left")
            left_idle = sandbox_leftovers.left(home, before, stack_lives=True)
            idle = sandbox_leftovers.take(home)
        left = sandbox_leftovers.left(home, before, stack_lives=False)
        after = sandbox_leftovers.take(home)
        progress("the provider alone")
        provider = asyncio.run(_by_the_provider(home / "alone", intents * tasks, concurrency))
    progress("plain processes")
    plain = _plain(intents * tasks, concurrency)
    wanted = intents * tasks
    whole = engine["results"] == engine["succeeded"] == wanted and engine["repeated"] == 0
    return {
        "passed": whole and not (left or left_idle),
        "command": COMMAND,
        "tasks": wanted,
        "at_once": concurrency,
        "engine": engine,
        "provider_alone": provider,
        "plain": plain,
        "engine_to_plain": round(engine["tasks_per_s"] / plain["tasks_per_s"], 3),
        "provider_to_plain": round(provider["tasks_per_s"] / plain["tasks_per_s"], 3),
        "counted": {"before": before.counts(), "all_ended": idle.counts(), "stack_stopped": after.counts()},
        "left": {"all_ended": left_idle, "stack_stopped": left},
    }


def _through_the_engine(stack: Stage, intents: int, tasks: int, progress: Progress) -> Report:
    _run(stack, _WARM_UP, tasks, "warm-up", progress)
    before = stack.cpu_seconds()
    ids, seconds = _run(stack, intents, tasks, "sandboxes", progress)
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


def _run(stack: Stage, intents: int, tasks: int, label: str, progress: Progress) -> tuple[list[str], float]:
    """Park all, approve all; returns the workflow ids and the seconds from the first approval to the last end."""
    inputs = {"tests": [f"t{number}" for number in range(tasks)], "testCommand": COMMAND}
    ids = [stack.submit(f"{label} {number}", inputs) for number in range(intents)]
    stack.wait_for(ids, "waiting_input", TIMEOUT_S, lambda n: progress(f"{label}: parked {n}/{intents}"))
    began = time.monotonic()
    for workflow_id in ids:
        stack.approve(workflow_id)
    stack.wait_for(ids, "succeeded", TIMEOUT_S, lambda n: progress(f"{label}: done {n}/{intents}"))
    return ids, time.monotonic() - began


async def _by_the_provider(home: Path, count: int, concurrency: int) -> Report:
    """The same commands in the same sandboxes, asked for by one loop and written down by nobody."""
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


def _plain(count: int, concurrency: int) -> Report:
    """The same commands as processes of this one, as many at once."""

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
