"""Lab restart: many intents wait for a person and everything is killed, Postgres too; all of them go on."""

import signal
import time
from functools import partial

import psutil

from sisu_pipeline.proof.harness import stack_processes
from sisu_pipeline.proof.harness.lab_rounds import Json, Lab, Round, expect
from sisu_pipeline.proof.harness.running_stack import Stage

TASKS = 1
_KILLS = ("immediate stop", "SIGKILL")
# A busy machine parks three and drains five in a second; what starts needs a minute at most.
_PATIENCE_S = 60.0
_PATIENCE_PER_INTENT_S = 1.0


def lab(count: int) -> Lab:
    """The lab with so many intents; its progress counts those that wait and those that succeeded."""
    return Lab(
        "restart",
        partial(_repetition, count=count),
        variables={"INTENT_QUEUE_RATE_LIMIT_PER_PERIOD": "0", "SBX_QUEUE_RATE_LIMIT_PER_PERIOD": "0"},
        steps=2 * count,
    )


def _repetition(one: Round, count: int) -> Json:
    stage, patience = one.stage, _PATIENCE_S + count * _PATIENCE_PER_INTENT_S
    one.schedule = {"intents": count, "postgres": one.random.choice(_KILLS)}
    began = time.monotonic()
    inputs = {"tests": [f"t{number}" for number in range(TASKS)]}
    ids = [stage.submit(f"restart {one.number}/{number}", inputs, "restart-partition") for number in range(count)]
    stage.wait_for(ids, "waiting_input", patience, lambda n: one.show(n, f"{n} of {count} wait for a person"))
    stage.until(lambda: _at_work(stage) == 0, _PATIENCE_S, lambda: f"rest; {_at_work(stage)} still at work")
    parked = time.monotonic()
    _kill_all(one)
    stage.stack.start()
    ready = time.monotonic()
    waiting = stage.statuses(ids).get("waiting_input", 0)
    expect(waiting == count, f"{waiting} of {count} wait for a person after the restart: {stage.statuses(ids)}")
    for workflow_id in ids:
        stage.approve(workflow_id)
    approved = time.monotonic()
    stage.wait_for(ids, "succeeded", patience, lambda n: one.show(count + n, f"{n} of {count} succeeded"))
    ended = time.monotonic()
    odd = stage.rows("restart.odd", workflow_ids=ids, tasks=TASKS)
    expect(not odd, f"{len(odd)} runs are not as they should be, the first: {odd[:1]}")
    return {
        "intents": count,
        "succeeded": stage.statuses(ids)["succeeded"],
        "stranded": count - stage.statuses(ids)["succeeded"],
        "parked_after_s": round(parked - began, 2),
        "ready_again_after_s": round(ready - parked, 2),
        "all_approved_after_s": round(approved - ready, 2),
        "all_succeeded_after_s": round(ended - ready, 2),
    }


def _at_work(stage: Stage) -> int:
    return int(stage.row("restart.at_rest")["count"])


def _kill_all(one: Round) -> None:
    """No process of the stack is left, and none of its database."""
    stack = one.stage.stack
    server = stack_processes.postgres(stack)
    killed = stack_processes.kill_everything(stack)
    one.struck("SIGKILL", "everything", processes=killed)
    if one.schedule["postgres"] == "SIGKILL":
        victims = [process for process in server if stack_processes.kill(process.pid)]
    else:
        # What `pg_ctl stop -m immediate` sends; the server ends its own processes.
        victims = server
        stack_processes.send(server[0].pid, signal.SIGQUIT)
    one.struck(one.schedule["postgres"], "postgres", pid=server[0].pid)
    _, left = psutil.wait_procs(victims, timeout=20)
    expect(not left, f"still there after they were killed: {left}")
