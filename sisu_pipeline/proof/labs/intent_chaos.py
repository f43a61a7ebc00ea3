"""Lab L13: kill -9 the worker that executes an intent during ExecuteST; another worker takes over."""

import time

from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.proof.harness import stack_processes
from sisu_pipeline.proof.harness.lab_rounds import Json, Lab, Round, expect
from sisu_pipeline.proof.harness.running_stack import RunningStack

TASKS = 5
DELAY_MS = 5000
_TIMEOUT_S = 60.0
_FIRST_STEPS = (StepId.COMPILE, StepId.APPLY_PATCH, StepId.DECIDE)


def _repetition(lab_round: Round) -> Json:
    stack = lab_round.stack
    lab_round.schedule = {"kill_after_s": round(lab_round.random.uniform(0.3, 3.0), 2)}
    inputs = {"tests": [f"t{number}" for number in range(TASKS)]}
    workflow_id = stack.submit(f"intent chaos {lab_round.number}", inputs, "chaos-partition")
    stack.approve(workflow_id)
    stack.wait_until(
        lambda: StepId.DECIDE in stack.row("labs.of_run", workflow_id=workflow_id)["steps"],
        30,
        lambda: "DecideST to be committed",
    )
    time.sleep(lab_round.schedule["kill_after_s"])
    before = stack.row("labs.of_run", workflow_id=workflow_id)
    executor = str(stack.row("labs.executor", workflow_id=workflow_id)["executor_id"])
    pid = process_of(executor)
    alive = [process.pid for process in stack_processes.workers(stack.process, "intent_worker")]
    expect(pid in alive, f"{executor} is not a worker of this stack; its workers: {alive}")
    expect(
        StepId.EXECUTE not in before["steps"], "ExecuteST was committed before the kill; the round proves nothing"
    )
    stack_processes.kill(pid)
    began = time.monotonic()
    lab_round.record_fault("SIGKILL", "intent_worker", pid=pid, executor=executor, tasks_before=before["tasks"])
    stack.wait_until(
        lambda: executor_of(stack, workflow_id) not in (None, executor), 30, lambda: "another worker to take over"
    )
    taken_over = time.monotonic() - began
    second = executor_of(stack, workflow_id)
    stack.wait_for_status([workflow_id], "succeeded", _TIMEOUT_S)
    run = stack.row("labs.of_run", workflow_id=workflow_id)
    for step in _FIRST_STEPS:
        expect(run["steps"].get(step) == 1, f"{step} has attempt {run['steps'].get(step)}, expected 1")
    expect(StepId.EXECUTE in run["steps"] and run["step_rows"] == 4, f"expected all four steps, got {run['steps']}")
    expect(run["tasks"] == TASKS, f"expected {TASKS} rows in sbx_runs, got {run['tasks']}")
    expect(run["receipts"] == TASKS and run["repeated"] == 0, f"{run['repeated']} tasks were executed twice")
    return {
        "run": run["id"],
        "killed": executor,
        "taken_over_by": second,
        "taken_over_after_s": round(taken_over, 3),
        "steps": run["steps"],
        "tasks": run["tasks"],
        "receipts": run["receipts"],
    }


def process_of(executor: str) -> int:
    """The process id in an executor id, `host-pid-random`."""
    return int(executor.rsplit("-", 2)[1])


def executor_of(stack: RunningStack, workflow_id: str) -> str | None:
    """The executor id of the worker that executes the intent's segment; None when no worker does."""
    rows = stack.rows("labs.executor", workflow_id=workflow_id)
    return str(rows[0]["executor_id"]) if rows else None


LAB = Lab(
    "intent-chaos",
    _repetition,
    variables={"CHAOS_SLEEP_EXECUTE": str(DELAY_MS), "INTENT_QUEUE_RATE_LIMIT_PER_PERIOD": "0"},
)
