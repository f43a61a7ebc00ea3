"""Lab crashdemo: kill every process at once, sometimes Postgres too; after a restart the run resumes."""

import time

import psutil

from sisu_pipeline.proof.harness import stack_processes
from sisu_pipeline.proof.harness.lab_rounds import Json, Lab, Round, expect

TASKS = 3
_TIMEOUT_S = 60.0


def _repetition(lab_round: Round) -> Json:
    stack, draw = lab_round.stack, lab_round.random
    lab_round.schedule = {"kill_after_s": round(draw.uniform(0.2, 1.5), 2), "postgres": draw.random() < 0.5}
    inputs = {"tests": [f"t{number}" for number in range(TASKS)], "testCommand": "sleep 2"}
    workflow_id = stack.submit(f"crash demo {lab_round.number}", inputs, "crash-partition")
    stack.approve(workflow_id)
    stack.wait_until(
        lambda: _of_run(lab_round, workflow_id)["receipts"] == TASKS, 30, lambda: "all tasks executing"
    )
    time.sleep(lab_round.schedule["kill_after_s"])
    before = _of_run(lab_round, workflow_id)
    killed = stack_processes.kill_everything(stack.process)
    lab_round.record_fault("SIGKILL", "everything", processes=killed, steps_before=sorted(before["steps"]))
    expect("ExecuteST" not in before["steps"], "ExecuteST was committed before the kill; the round proves nothing")
    if lab_round.schedule["postgres"]:
        server = stack_processes.stop_postgres_immediately(stack.process)
        psutil.wait_procs([server], timeout=20)
        lab_round.record_fault("immediate stop", "postgres", pid=server.pid)
    began = time.monotonic()
    stack.process.start()
    ready = time.monotonic() - began
    stack.wait_for_status([workflow_id], "succeeded", _TIMEOUT_S)
    run = _of_run(lab_round, workflow_id)
    expect(run["step_rows"] == 4, f"expected 4 step rows, got {run['step_rows']}: {run['steps']}")
    expect(run["tasks"] == TASKS == run["receipts"] and run["repeated"] == 0, f"tasks were lost or repeated: {run}")
    return {
        "run": run["id"],
        "steps_before": sorted(before["steps"]),
        "ready_again_s": round(ready, 2),
        "succeeded_after_s": round(time.monotonic() - began, 2),
    }


def _of_run(lab_round: Round, workflow_id: str) -> Json:
    return lab_round.stack.row("labs.of_run", workflow_id=workflow_id)


LAB = Lab("crashdemo", _repetition)
