"""Lab L08: one run of a hundred tasks and more; the sandbox worker is killed in its middle."""

from sisu_pipeline.proof.harness import stack_processes
from sisu_pipeline.proof.harness.lab_rounds import Json, Lab, Round, expect

FEWEST_TASKS = 100
_TIMEOUT_S = 120.0


def _repetition(one: Round) -> Json:
    stage, draw = one.stage, one.random
    tasks = draw.randint(FEWEST_TASKS, FEWEST_TASKS + 40)
    one.schedule = {"tasks": tasks, "kill_after_results": draw.randint(10, 60), "whole_group": draw.random() < 0.3}
    inputs = {"tests": [f"t{number}" for number in range(tasks)], "testCommand": "sleep 0.3"}
    workflow_id = stage.submit(f"fan-out soak {one.number}", inputs, "soak-partition")
    stage.wait_for([workflow_id], "waiting_input", 30)
    stage.approve(workflow_id)

    def results() -> int:
        return int(stage.row("labs.of_run", workflow_id=workflow_id)["tasks"])

    stage.until(lambda: results() >= one.schedule["kill_after_results"], 60, lambda: "enough results to kill")
    before = results()
    victim = (
        stack_processes.main_process(stage.stack, "sandbox_worker")
        if one.schedule["whole_group"]
        else stack_processes.workers(stage.stack, "sandbox_worker")[0]
    )
    stack_processes.kill(victim.pid)
    one.struck("SIGKILL", "sandbox_worker", pid=victim.pid, results_before=before)
    expect(before < tasks, f"all {tasks} results were there before the kill: nothing was shown")
    stage.wait_for([workflow_id], "succeeded", _TIMEOUT_S)
    run = stage.row("labs.of_run", workflow_id=workflow_id)
    expect(run["tasks"] == tasks, f"{run['tasks']} results of {tasks} tasks")
    expect(run["receipts"] == tasks and run["repeated"] == 0, f"{run['repeated']} tasks were executed twice")
    return {"run": run["id"], "tasks": tasks, "results_before_the_kill": before, "seconds": run["seconds"]}


LAB = Lab("fanout-soak", _repetition, variables={"SBX_QUEUE_RATE_LIMIT_PER_PERIOD": "0"})
