"""Lab crashdemo: every process killed at once, Postgres too; started again, the run goes on where it was."""

import signal
import time

import psutil

from sisu_pipeline.proof.harness import stack_processes
from sisu_pipeline.proof.harness.lab_rounds import Json, Lab, Round, expect

TASKS = 3
_TIMEOUT_S = 60.0


def _repetition(one: Round) -> Json:
    stage = one.stage
    one.schedule = {"kill_after_s": round(one.random.uniform(0.2, 1.5), 2), "postgres": one.random.random() < 0.5}
    inputs = {"tests": [f"t{number}" for number in range(TASKS)], "testCommand": "sleep 2"}
    workflow_id = stage.submit(f"crash demo {one.number}", inputs, "crash-partition")
    stage.approve(workflow_id)
    stage.until(lambda: _of(one, workflow_id)["receipts"] == TASKS, 30, lambda: "every task executing")
    time.sleep(one.schedule["kill_after_s"])
    before = _of(one, workflow_id)
    killed = stack_processes.kill_everything(stage.stack)
    one.struck("SIGKILL", "everything", processes=killed, steps_before=sorted(before["steps"]))
    expect("ExecuteST" not in before["steps"], "ExecuteST was committed before the kill: nothing was shown")
    if one.schedule["postgres"]:
        server = stack_processes.postmaster(stage.stack)
        # What `pg_ctl stop -m immediate` sends.
        stack_processes.send(server.pid, signal.SIGQUIT)
        psutil.wait_procs([server], timeout=20)
        one.struck("immediate stop", "postgres", pid=server.pid)
    began = time.monotonic()
    stage.stack.start()
    ready = time.monotonic() - began
    stage.wait_for([workflow_id], "succeeded", _TIMEOUT_S)
    run = _of(one, workflow_id)
    expect(run["step_rows"] == 4, f"the run has {run['step_rows']} step rows: {run['steps']}")
    expect(run["tasks"] == TASKS == run["receipts"] and run["repeated"] == 0, f"tasks were lost or repeated: {run}")
    return {
        "run": run["id"],
        "steps_before": sorted(before["steps"]),
        "ready_again_s": round(ready, 2),
        "succeeded_after_s": round(time.monotonic() - began, 2),
    }


def _of(one: Round, workflow_id: str) -> Json:
    return one.stage.row("labs.of_run", workflow_id=workflow_id)


LAB = Lab("crashdemo", _repetition)
