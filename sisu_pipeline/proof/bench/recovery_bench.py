"""How long a killed worker delays its intent: kill -9 in ExecuteST, and another worker goes on."""

import random
from dataclasses import dataclass

from sisu_pipeline.proof.bench.bench_stack import Stage, stage
from sisu_pipeline.proof.bench.engine_bench import Progress, Report, spread
from sisu_pipeline.proof.harness import stack_processes
from sisu_pipeline.proof.harness.lab_rounds import expect
from sisu_pipeline.proof.labs.intent_chaos import executor_of, process_of

TASKS = 5
TASK_S = 2.0
# The less work is left when the worker dies, the less of the takeover hides behind it.
LEAST_LEFT_S = 0.1
MOST_LEFT_S = 1.5
_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Death:
    """One killed worker; seconds after the kill."""

    work_left: float
    taken_over: float
    succeeded: float
    executed_twice: int

    @property
    def beyond_work_left(self) -> float:
        """What the death cost: nobody could have been done before the last task was."""
        return self.succeeded - self.work_left


def recovery(count: int, workers: int, seed: int, progress: Progress) -> Report:
    """Kill the worker of `count` intents, one after another. Raises LabFailed when a round shows nothing.

    Kill → taken over: until another worker took the segment off the queue. Kill → succeeded, beyond the work
    left: without the time the tasks, which live on in the sandbox worker, still took at the moment of the kill.
    """
    draw = random.Random(seed)  # noqa: S311
    with stage(workers=workers) as stack:
        # The first one of all warms everything up and is not counted.
        _die(stack, "warm-up", MOST_LEFT_S)
        deaths = []
        for number in range(count):
            progress(f"killed {number}/{count}")
            deaths.append(_die(stack, f"death {number}", draw.uniform(LEAST_LEFT_S, MOST_LEFT_S)))
        broken = stack.broken_laws()
    return {
        "deaths": count,
        "seed": seed,
        "workers": workers,
        "tasks_per_intent": TASKS,
        "task_s": TASK_S,
        "work_left": spread([death.work_left for death in deaths]),
        "kill_to_taken_over": spread([death.taken_over for death in deaths]),
        "kill_to_succeeded": spread([death.succeeded for death in deaths]),
        "beyond_work_left": spread([death.beyond_work_left for death in deaths]),
        "tasks_executed_twice": sum(death.executed_twice for death in deaths),
        "broken_laws": sorted(broken),
    }


def _die(stack: Stage, goal: str, left: float) -> Death:
    """One intent, whose worker is killed when its tasks still take `left` seconds."""
    inputs = {"tests": [f"t{number}" for number in range(TASKS)], "testCommand": f"sleep {TASK_S:g}"}
    workflow_id = stack.submit(goal, inputs)
    stack.approve(workflow_id)
    stack.until(lambda: _is_time(stack, workflow_id, left), _PATIENCE_S, lambda: f"every task of {workflow_id}")
    executor = executor_of(stack, workflow_id)
    expect(executor is not None, "nobody executes the run any more: nothing to kill")
    killed_at = stack.row("bench.clock")["now"]
    stack_processes.kill(process_of(str(executor)))
    stack.wait_for([workflow_id], "succeeded", _PATIENCE_S)
    row = stack.row("bench.recovery", workflow_id=workflow_id, killed_at=killed_at)
    expect(row["executor_id"] != executor, f"{executor} ended the run itself: it was killed too late")
    expect(row["tasks"] == TASKS, f"tasks were lost: {row}")
    return Death(max(row["tasks_ended"], 0.0), row["taken_over"], row["succeeded"], row["repeated"])


def _is_time(stack: Stage, workflow_id: str, left: float) -> bool:
    row = stack.row("bench.work_left", workflow_id=workflow_id)
    return bool(row["started"] == TASKS and row["seconds"] <= left)
