"""Recovery: how long an intent is delayed when its worker is killed in ExecuteST and another one takes over."""

import random
from dataclasses import dataclass

from sisu_pipeline.proof.bench.bench_stack import MeasuredStack, measured_stack
from sisu_pipeline.proof.bench.engine_bench import Report, ReportStatus, spread
from sisu_pipeline.proof.harness import stack_processes
from sisu_pipeline.proof.harness.lab_rounds import expect
from sisu_pipeline.proof.labs.intent_chaos import executor_of, process_of

TASKS = 5
TASK_S = 2.0
# The less work is left at the kill, the less of the takeover overlaps with it.
MIN_LEFT_S = 0.1
MAX_LEFT_S = 1.5
_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class WorkerKill:
    """One killed worker; times in seconds after the kill."""

    work_left: float
    taken_over: float
    succeeded: float
    executed_twice: int

    @property
    def beyond_work_left(self) -> float:
        """The delay caused by the kill: no run can succeed before its last task ends."""
        return self.succeeded - self.work_left


def recovery(count: int, workers: int, seed: int, report_status: ReportStatus) -> Report:
    """Kill the worker of `count` intents, one after another. Raises LabFailed when a round is invalid.

    Kill → taken over: until another worker has dequeued the segment. Beyond the work left: kill → succeeded minus
    the time the tasks, which continue in the sandbox worker, still needed at the kill.
    """
    rng = random.Random(seed)  # noqa: S311
    with measured_stack(workers=workers) as stack:
        # The first one warms everything up and is not counted.
        _kill_one(stack, "warm-up", MAX_LEFT_S)
        kills = []
        for number in range(count):
            report_status(f"killed {number}/{count}")
            kills.append(_kill_one(stack, f"kill {number}", rng.uniform(MIN_LEFT_S, MAX_LEFT_S)))
        broken = stack.broken_laws()
    return {
        "deaths": count,
        "seed": seed,
        "workers": workers,
        "tasks_per_intent": TASKS,
        "task_s": TASK_S,
        "work_left": spread([kill.work_left for kill in kills]),
        "kill_to_taken_over": spread([kill.taken_over for kill in kills]),
        "kill_to_succeeded": spread([kill.succeeded for kill in kills]),
        "beyond_work_left": spread([kill.beyond_work_left for kill in kills]),
        "tasks_executed_twice": sum(kill.executed_twice for kill in kills),
        "broken_laws": sorted(broken),
    }


def _kill_one(stack: MeasuredStack, goal: str, left: float) -> WorkerKill:
    """Run one intent and kill its worker when its tasks still need `left` seconds."""
    inputs = {"tests": [f"t{number}" for number in range(TASKS)], "testCommand": f"sleep {TASK_S:g}"}
    workflow_id = stack.submit(goal, inputs)
    stack.approve(workflow_id)
    stack.wait_until(
        lambda: _is_time(stack, workflow_id, left), _TIMEOUT_S, lambda: f"all tasks of {workflow_id} to run"
    )
    executor = executor_of(stack, workflow_id)
    expect(executor is not None, "no worker executes the run any more; there is nothing to kill")
    killed_at = stack.row("bench.clock")["now"]
    stack_processes.kill(process_of(str(executor)))
    stack.wait_for_status([workflow_id], "succeeded", _TIMEOUT_S)
    row = stack.row("bench.recovery", workflow_id=workflow_id, killed_at=killed_at)
    expect(row["executor_id"] != executor, f"{executor} finished the run before it was killed")
    expect(row["tasks"] == TASKS, f"tasks were lost: {row}")
    return WorkerKill(max(row["tasks_ended"], 0.0), row["taken_over"], row["succeeded"], row["repeated"])


def _is_time(stack: MeasuredStack, workflow_id: str, left: float) -> bool:
    row = stack.row("bench.work_left", workflow_id=workflow_id)
    return bool(row["started"] == TASKS and row["seconds"] <= left)
