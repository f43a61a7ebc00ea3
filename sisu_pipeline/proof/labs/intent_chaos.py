"""Lab L13: kill -9 of the worker that executes an intent, during ExecuteST; another one takes over."""

import time

from sisu_pipeline.proof.harness import stack_processes
from sisu_pipeline.proof.harness.lab_rounds import Json, Lab, Round, expect
from sisu_pipeline.proof.harness.running_stack import Stage

TASKS = 5
DELAY_MS = 5000
_TIMEOUT_S = 60.0
_FIRST_STEPS = ("CompileST", "ApplyPatchST", "DecideST")


def _repetition(one: Round) -> Json:
    stage = one.stage
    one.schedule = {"kill_after_s": round(one.random.uniform(0.3, 3.0), 2)}
    inputs = {"tests": [f"t{number}" for number in range(TASKS)]}
    workflow_id = stage.submit(f"intent chaos {one.number}", inputs, "chaos-partition")
    stage.approve(workflow_id)
    stage.until(
        lambda: "DecideST" in stage.row("labs.of_run", workflow_id=workflow_id)["steps"],
        30,
        lambda: "DecideST of the run",
    )
    time.sleep(one.schedule["kill_after_s"])
    before = stage.row("labs.of_run", workflow_id=workflow_id)
    executor = str(stage.row("labs.executor", workflow_id=workflow_id)["executor_id"])
    pid = process_of(executor)
    alive = [process.pid for process in stack_processes.workers(stage.stack, "intent_worker")]
    expect(pid in alive, f"{executor} is no process of this stack: {alive}")
    expect("ExecuteST" not in before["steps"], "ExecuteST was committed before the kill: nothing was shown")
    stack_processes.kill(pid)
    began = time.monotonic()
    one.struck("SIGKILL", "intent_worker", pid=pid, executor=executor, tasks_before=before["tasks"])
    stage.until(
        lambda: executor_of(stage, workflow_id) not in (None, executor), 30, lambda: "another worker on the segment"
    )
    taken_over = time.monotonic() - began
    second = executor_of(stage, workflow_id)
    stage.wait_for([workflow_id], "succeeded", _TIMEOUT_S)
    run = stage.row("labs.of_run", workflow_id=workflow_id)
    for step in _FIRST_STEPS:
        expect(run["steps"].get(step) == 1, f"{step} has attempt {run['steps'].get(step)}")
    expect("ExecuteST" in run["steps"] and run["step_rows"] == 4, f"the run has {run['steps']}")
    expect(run["tasks"] == TASKS, f"{run['tasks']} rows in sbx_runs, not {TASKS}")
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
    """The process id in an executor's name, `host-pid-random`."""
    return int(executor.rsplit("-", 2)[1])


def executor_of(stage: Stage, workflow_id: str) -> str | None:
    """Who executes the intent's segment now."""
    rows = stage.rows("labs.executor", workflow_id=workflow_id)
    return str(rows[0]["executor_id"]) if rows else None


LAB = Lab(
    "intent-chaos",
    _repetition,
    variables={"CHAOS_SLEEP_EXECUTE": str(DELAY_MS), "INTENT_QUEUE_RATE_LIMIT_PER_PERIOD": "0"},
)
