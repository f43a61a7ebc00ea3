"""The four measurements. Each returns plain figures; times are seconds, memory MiB."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from sisu_pipeline.proof.bench.bench_stack import BUFFERS, Figures, Stage, stage

Progress = Callable[[str], None]
Report = dict[str, Any]

TIMEOUT_S = 900.0
WARM_UP = 2
WARM_UP_PARKED = 600
_BATCH = 100


def intents(count: int, tasks: int, workers: int, progress: Progress, profile: str = "warm") -> Report:
    """Park `count` intents of `tasks` tasks in one partition, then approve all: intents per second, CPU by part."""
    with stage(workers=workers, profile=profile) as stack:
        _warm_up(stack, tasks, progress)
        before, started = stack.cpu_seconds(), time.monotonic()
        ids = [stack.submit(f"{profile} intent {number}", _inputs(tasks)) for number in range(count)]
        stack.wait_for(ids, "waiting_input", TIMEOUT_S, lambda n: progress(f"{profile}: parked {n}/{count}"))
        parked = time.monotonic()
        for workflow_id in ids:
            stack.approve(workflow_id)
        stack.wait_for(ids, "succeeded", TIMEOUT_S, lambda n: progress(f"{profile}: done {n}/{count}"))
        ended, after = time.monotonic(), stack.cpu_seconds()
    cpu = {name: round((after[name] - before.get(name, 0)) / count, 4) for name in after}
    return {
        "profile": profile,
        "intents": count,
        "tasks_per_intent": tasks,
        "workers": workers,
        "parked_per_s": round(count / (parked - started), 3),
        "drained_per_s": round(count / (ended - parked), 3),
        "intents_per_s": round(count / (ended - started), 3),
        "cpu_s_per_intent": cpu,
        "cpu_s_per_intent_total": round(sum(cpu.values()), 4),
    }


def resume(count: int, tasks: int, workers: int, progress: Progress, profile: str = "warm") -> Report:
    """One intent at a time: submit → waiting_input, approve → DecideST running, approve → succeeded."""
    with stage(workers=workers, profile=profile) as stack:
        _warm_up(stack, tasks, progress)
        ids = []
        for number in range(count):
            workflow_id = stack.submit(f"{profile} resume {number}", _inputs(tasks))
            stack.wait_for([workflow_id], "waiting_input", TIMEOUT_S, lambda n: None)
            stack.approve(workflow_id)
            stack.wait_for([workflow_id], "succeeded", TIMEOUT_S, lambda n: None)
            ids.append(workflow_id)
            progress(f"{profile}: {number + 1}/{count}")
        rows = stack.rows("bench.latencies", workflow_ids=ids)
    names = ("submit_to_waiting", "approve_to_decide", "approve_to_end")
    return {
        "profile": profile,
        "intents": count,
        "tasks_per_intent": tasks,
        "workers": workers,
        **{name: spread([float(row[name]) for row in rows]) for name in names},
    }


def fanout(tasks: int, seconds: float, sandbox_workers: int, progress: Progress, profile: str = "warm") -> Report:
    """One run of `tasks` tasks of `seconds` each: approve → succeeded, and what a task costs beyond its work."""
    command = f"sleep {seconds:g}" if seconds else "run"
    with stage(workers=1, profile=profile, sandbox_workers=sandbox_workers) as stack:
        _warm_up(stack, 1, progress)
        workflow_id = stack.submit(f"{profile} fanout {tasks} x {seconds:g}", _inputs(tasks, command))
        stack.wait_for([workflow_id], "waiting_input", TIMEOUT_S, lambda n: None)
        progress(f"{profile}: planned")
        before, memory = stack.cpu_seconds(), stack.memory_mb()
        stack.approve(workflow_id)
        looks = 0
        seen: list[float] = []

        def tick(_: int) -> None:
            # Reading memory maps is work of its own: twice a second is enough for a peak that lasts.
            nonlocal looks
            looks += 1
            if looks % 10 == 0:
                seen.append(stack.memory_mb()["intent_worker"])

        stack.wait_for([workflow_id], "succeeded", TIMEOUT_S, tick)
        after = stack.cpu_seconds()
        seen.append(stack.memory_mb()["intent_worker"])
        row = stack.rows("bench.latencies", workflow_ids=[workflow_id])[0]
        counted = stack.rows("bench.failed_tasks", run_id=row["id"])[0]
    took = float(row["approve_to_end"])
    return {
        "profile": profile,
        "tasks": counted["total"],
        "tasks_failed": counted["failed"],
        "task_s": seconds,
        "sandbox_workers": sandbox_workers,
        "approve_to_end_s": round(took, 3),
        "tasks_per_s": round(tasks / took, 1),
        "overhead_ms_per_task": round(1000 * max(took - seconds, 0) / tasks, 3),
        "cpu_ms_per_task": round(1000 * sum(after[name] - before.get(name, 0) for name in after) / tasks, 3),
        "intent_worker_mb_before": round(memory["intent_worker"], 1),
        "intent_worker_mb_median": round(statistics.median(seen), 1),
        "intent_worker_mb_most": round(max(seen), 1),
    }


def parked(count: int, workers: int, progress: Progress, profile: str = "warm") -> Report:
    """What `count` waiting intents cost: memory, processes, threads, queue rows, connections, latency.

    A stack grows while it warms up, whatever then waits: so some hundred intents go through it first, enough to
    fill what work of any kind fills, Postgres' shared buffers above all; and there are ten readings on the way.
    """
    with stage(workers=workers, profile=profile) as stack:
        for begun in range(0, WARM_UP_PARKED, _BATCH):
            _warm_up(stack, 1, progress, begun, _BATCH)
        latency_before = _resume_latency(stack, "before", progress)
        before = _state(stack)
        ids: list[str] = []
        on_the_way: dict[int, Figures] = {}
        while len(ids) < count:
            batch = [stack.submit(f"parked {len(ids) + n}") for n in range(min(_BATCH, count - len(ids)))]
            ids += batch
            stack.wait_for(batch, "waiting_input", TIMEOUT_S, lambda n: None)
            progress(f"parked {len(ids)}/{count}")
            if len(ids) * 10 // count > len(on_the_way):
                on_the_way[len(ids)] = _rounded(stack.memory_mb())
        after, cpu = _state(stack), _idle_cpu(stack)
        latency_after = _resume_latency(stack, "after", progress)
    growth = {name: after["memory_mb"][name] - before["memory_mb"][name] for name in after["memory_mb"]}
    return {
        "profile": profile,
        "parked": count,
        "before": before,
        "on_the_way_mb": on_the_way,
        "after": after,
        "growth_mb": _rounded(growth),
        "growth_mb_total": round(sum(growth.values()), 1),
        "growth_mb_without_shared_buffers": round(sum(growth.values()) - growth[BUFFERS], 1),
        "idle_cpu_percent": cpu,
        "approve_to_end_before": latency_before,
        "approve_to_end_after": latency_after,
    }


def _state(stack: Stage) -> Report:
    processes, threads = stack.processes_and_threads()
    return {
        "memory_mb": _rounded(stack.memory_mb()),
        "processes": processes,
        "threads": threads,
        "queue_rows": stack.rows("bench.queue_rows")[0]["count"],
        "connections": stack.rows("bench.backends")[0]["count"],
    }


def _rounded(figures: Figures) -> Figures:
    return {name: round(value, 1) for name, value in figures.items()}


def _idle_cpu(stack: Stage, seconds: float = 60.0) -> Figures:
    before = stack.cpu_seconds()
    time.sleep(seconds)
    after = stack.cpu_seconds()
    return {name: round(100 * (after[name] - before.get(name, 0)) / seconds, 2) for name in after}


def _resume_latency(stack: Stage, label: str, progress: Progress, count: int = 40) -> Figures:
    ids = []
    for number in range(count):
        workflow_id = stack.submit(f"latency {label} {number}")
        stack.wait_for([workflow_id], "waiting_input", TIMEOUT_S, lambda n: None)
        stack.approve(workflow_id)
        stack.wait_for([workflow_id], "succeeded", TIMEOUT_S, lambda n: None)
        ids.append(workflow_id)
        progress(f"latency {label}: {number + 1}/{count}")
    return spread([float(row["approve_to_end"]) for row in stack.rows("bench.latencies", workflow_ids=ids)])


def _warm_up(stack: Stage, tasks: int, progress: Progress, first: int = 0, count: int = WARM_UP) -> None:
    """Let every worker import, connect and plan once: a first run measures the start, not the engine."""
    ids = [stack.submit(f"warm-up {number}", _inputs(tasks)) for number in range(first, first + count)]
    stack.wait_for(ids, "waiting_input", TIMEOUT_S, lambda n: progress(f"warm-up: parked {n}"))
    for workflow_id in ids:
        stack.approve(workflow_id)
    stack.wait_for(ids, "succeeded", TIMEOUT_S, lambda n: progress(f"warm-up: done {n}"))


def _inputs(tasks: int, command: str = "run") -> dict[str, Any]:
    return {"tests": [f"t{number}" for number in range(tasks)], "testCommand": command}


def spread(values: Sequence[float]) -> Figures:
    """Median, smallest, 95th percentile, largest, and of how many."""
    ordered = sorted(values)
    return {
        "median": round(statistics.median(ordered), 4),
        "min": round(ordered[0], 4),
        "p95": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))], 4),
        "max": round(ordered[-1], 4),
        "n": len(ordered),
    }
