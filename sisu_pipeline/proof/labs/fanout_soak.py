"""Lab L08: a run of 100 to 140 tasks; kill the sandbox worker in the middle of the fan-out."""

from sisu_pipeline.proof.harness import stack_processes
from sisu_pipeline.proof.harness.lab_rounds import Json, Lab, Round, expect

MIN_TASKS = 100
_TIMEOUT_S = 120.0


def _repetition(lab_round: Round) -> Json:
    stack, draw = lab_round.stack, lab_round.random
    tasks = draw.randint(MIN_TASKS, MIN_TASKS + 40)
    kill_after, whole_group = draw.randint(10, 60), draw.random() < 0.3
    lab_round.schedule = {"tasks": tasks, "kill_after_results": kill_after, "whole_group": whole_group}
    inputs = {"tests": [f"t{number}" for number in range(tasks)], "testCommand": "sleep 0.3"}
    workflow_id = stack.submit(f"fan-out soak {lab_round.number}", inputs, "soak-partition")
    stack.wait_for_status([workflow_id], "waiting_input", 30)
    stack.approve(workflow_id)

    def results() -> int:
        return int(stack.row("labs.of_run", workflow_id=workflow_id)["tasks"])

    stack.wait_until(lambda: results() >= kill_after, 60, lambda: f"{kill_after} results")
    before = results()
    victim = (
        stack_processes.main_process(stack.process, "sandbox_worker")
        if whole_group
        else stack_processes.workers(stack.process, "sandbox_worker")[0]
    )
    stack_processes.kill(victim.pid)
    lab_round.record_fault("SIGKILL", "sandbox_worker", pid=victim.pid, results_before=before)
    expect(before < tasks, f"all {tasks} results existed before the kill; the round proves nothing")
    stack.wait_for_status([workflow_id], "succeeded", _TIMEOUT_S)
    run = stack.row("labs.of_run", workflow_id=workflow_id)
    expect(run["tasks"] == tasks, f"expected {tasks} results, got {run['tasks']}")
    expect(run["receipts"] == tasks and run["repeated"] == 0, f"{run['repeated']} tasks were executed twice")
    return {"run": run["id"], "tasks": tasks, "results_before_the_kill": before, "seconds": run["seconds"]}


LAB = Lab("fanout-soak", _repetition, variables={"SBX_QUEUE_RATE_LIMIT_PER_PERIOD": "0"})
