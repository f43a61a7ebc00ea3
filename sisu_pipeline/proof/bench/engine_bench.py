"""Throughput, latency, fan-out and the cost of waiting intents; times in seconds, memory in MiB."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sisu_pipeline.proof.bench.bench_stack import BUFFERS, NO_LIMITS, Figures, MeasuredStack, measured_stack

ReportStatus = Callable[[str], None]
Report = dict[str, Any]

TIMEOUT_S = 900.0
WARM_UP = 2
WARM_UP_PARKED = 600
_BATCH = 100


def intents(
    count: int,
    tasks: int,
    workers: int,
    report_status: ReportStatus,
    profile: str = "warm",
    partitions: int = 1,
    limits: Mapping[str, str] = NO_LIMITS,
) -> Report:
    """Submit `count` intents of `tasks` tasks, then approve all: intents/s, CPU by component."""
    with measured_stack(workers=workers, profile=profile, limits=limits) as stack:
        _warm_up(stack, tasks, report_status)
        before, started = stack.cpu_seconds(), time.monotonic()
        ids = [
            stack.submit(f"{profile} intent {number}", _inputs(tasks), f"bench-{number % partitions}")
            for number in range(count)
        ]
        stack.wait_for_status(
            ids, "waiting_input", TIMEOUT_S, lambda n: report_status(f"{profile}: parked {n}/{count}")
        )
        parked = time.monotonic()
        for workflow_id in ids:
            stack.approve(workflow_id)
        stack.wait_for_status(ids, "succeeded", TIMEOUT_S, lambda n: report_status(f"{profile}: done {n}/{count}"))
        ended, after = time.monotonic(), stack.cpu_seconds()
    cpu = {name: round((after[name] - before.get(name, 0)) / count, 4) for name in after}
    return {
        "profile": profile,
        "intents": count,
        "partitions": partitions,
        "tasks_per_intent": tasks,
        "workers": workers,
        "parked_per_s": round(count / (parked - started), 3),
        "drained_per_s": round(count / (ended - parked), 3),
        "intents_per_s": round(count / (ended - started), 3),
        "cpu_s_per_intent": cpu,
        "cpu_s_per_intent_total": round(sum(cpu.values()), 4),
    }


def resume(count: int, tasks: int, workers: int, report_status: ReportStatus, profile: str = "warm") -> Report:
    """Run one intent at a time: submit → waiting_input, approve → DecideST running, approve → succeeded."""
    with measured_stack(workers=workers, profile=profile) as stack:
        _warm_up(stack, tasks, report_status)
        ids = []
        for number in range(count):
            workflow_id = stack.submit(f"{profile} resume {number}", _inputs(tasks))
            stack.wait_for_status([workflow_id], "waiting_input", TIMEOUT_S, lambda n: None)
            stack.approve(workflow_id)
            stack.wait_for_status([workflow_id], "succeeded", TIMEOUT_S, lambda n: None)
            ids.append(workflow_id)
            report_status(f"{profile}: {number + 1}/{count}")
        rows = stack.rows("bench.latencies", workflow_ids=ids)
    names = ("submit_to_waiting", "approve_to_decide", "approve_to_end")
    return {
        "profile": profile,
        "intents": count,
        "tasks_per_intent": tasks,
        "workers": workers,
        **{name: spread([float(row[name]) for row in rows]) for name in names},
    }


def fanout(
    tasks: int, seconds: float, sandbox_workers: int, report_status: ReportStatus, profile: str = "warm"
) -> Report:
    """Run `tasks` tasks of `seconds` each in one run: approve → succeeded, and the overhead per task."""
    command = f"sleep {seconds:g}" if seconds else "run"
    with measured_stack(workers=1, profile=profile, sandbox_workers=sandbox_workers) as stack:
        _warm_up(stack, 1, report_status)
        workflow_id = stack.submit(f"{profile} fanout {tasks} x {seconds:g}", _inputs(tasks, command))
        stack.wait_for_status([workflow_id], "waiting_input", TIMEOUT_S, lambda n: None)
        report_status(f"{profile}: planned")
        before, memory = stack.cpu_seconds(), stack.memory_mb()
        stack.approve(workflow_id)
        polls = 0
        memory_seen: list[float] = []

        def sample_memory(_: int) -> None:
            # Reading memory maps costs CPU time; two samples a second catch a peak that lasts.
            nonlocal polls
            polls += 1
            if polls % 10 == 0:
                memory_seen.append(stack.memory_mb()["intent_worker"])

        stack.wait_for_status([workflow_id], "succeeded", TIMEOUT_S, sample_memory)
        after = stack.cpu_seconds()
        memory_seen.append(stack.memory_mb()["intent_worker"])
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
        "intent_worker_mb_median": round(statistics.median(memory_seen), 1),
        "intent_worker_mb_most": round(max(memory_seen), 1),
    }


def parked(count: int, workers: int, report_status: ReportStatus, profile: str = "warm") -> Report:
    """Measure what `count` waiting intents cost: memory, processes, threads, queue rows, connections, latency.

    A stack grows while it warms up. Some hundred intents run first: enough to fill the caches that any work fills,
    above all Postgres' shared buffers. Memory is also read ten times while the intents are submitted.
    """
    with measured_stack(workers=workers, profile=profile) as stack:
        for begun in range(0, WARM_UP_PARKED, _BATCH):
            _warm_up(stack, 1, report_status, begun, _BATCH)
        latency_before = _resume_latency(stack, "before", report_status)
        before = _state(stack)
        ids: list[str] = []
        readings: dict[int, Figures] = {}
        while len(ids) < count:
            batch = [stack.submit(f"parked {len(ids) + n}") for n in range(min(_BATCH, count - len(ids)))]
            ids += batch
            stack.wait_for_status(batch, "waiting_input", TIMEOUT_S, lambda n: None)
            report_status(f"parked {len(ids)}/{count}")
            if len(ids) * 10 // count > len(readings):
                readings[len(ids)] = _rounded(stack.memory_mb())
        after, cpu = _state(stack), _idle_cpu(stack)
        latency_after = _resume_latency(stack, "after", report_status)
    growth = {name: after["memory_mb"][name] - before["memory_mb"][name] for name in after["memory_mb"]}
    return {
        "profile": profile,
        "parked": count,
        "before": before,
        "on_the_way_mb": readings,
        "after": after,
        "growth_mb": _rounded(growth),
        "growth_mb_total": round(sum(growth.values()), 1),
        "growth_mb_without_shared_buffers": round(sum(growth.values()) - growth[BUFFERS], 1),
        "idle_cpu_percent": cpu,
        "approve_to_end_before": latency_before,
        "approve_to_end_after": latency_after,
    }


def _state(stack: MeasuredStack) -> Report:
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


def _idle_cpu(stack: MeasuredStack, seconds: float = 60.0) -> Figures:
    before = stack.cpu_seconds()
    time.sleep(seconds)
    after = stack.cpu_seconds()
    return {name: round(100 * (after[name] - before.get(name, 0)) / seconds, 2) for name in after}


def _resume_latency(stack: MeasuredStack, label: str, report_status: ReportStatus, count: int = 40) -> Figures:
    ids = []
    for number in range(count):
        workflow_id = stack.submit(f"latency {label} {number}")
        stack.wait_for_status([workflow_id], "waiting_input", TIMEOUT_S, lambda n: None)
        stack.approve(workflow_id)
        stack.wait_for_status([workflow_id], "succeeded", TIMEOUT_S, lambda n: None)
        ids.append(workflow_id)
        report_status(f"latency {label}: {number + 1}/{count}")
    return spread([float(row["approve_to_end"]) for row in stack.rows("bench.latencies", workflow_ids=ids)])


def _warm_up(
    stack: MeasuredStack, tasks: int, report_status: ReportStatus, first: int = 0, count: int = WARM_UP
) -> None:
    """Run some intents first: every worker imports, connects and plans once outside the measurement."""
    ids = [stack.submit(f"warm-up {number}", _inputs(tasks)) for number in range(first, first + count)]
    stack.wait_for_status(ids, "waiting_input", TIMEOUT_S, lambda n: report_status(f"warm-up: parked {n}"))
    for workflow_id in ids:
        stack.approve(workflow_id)
    stack.wait_for_status(ids, "succeeded", TIMEOUT_S, lambda n: report_status(f"warm-up: done {n}"))


def _inputs(tasks: int, command: str = "run") -> dict[str, Any]:
    return {"tests": [f"t{number}" for number in range(tasks)], "testCommand": command}


def spread(values: Sequence[float]) -> Figures:
    """Median, minimum, 95th percentile, maximum and number of values."""
    ordered = sorted(values)
    return {
        "median": round(statistics.median(ordered), 4),
        "min": round(ordered[0], 4),
        "p95": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))], 4),
        "max": round(ordered[-1], 4),
        "n": len(ordered),
    }
