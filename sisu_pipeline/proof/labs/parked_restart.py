"""Lab restart: kill every process and Postgres while many intents wait for approval; then all succeed."""

import signal
import time
from functools import partial

import psutil

from sisu_pipeline.proof.harness import stack_processes
from sisu_pipeline.proof.harness.lab_rounds import Json, Lab, Round, expect
from sisu_pipeline.proof.harness.running_stack import RunningStack

TASKS = 1
_POSTGRES_FAULTS = ("immediate stop", "SIGKILL")
# On a busy machine three intents reach their gate and five end per second; a start takes a minute at most.
_TIMEOUT_S = 60.0
_TIMEOUT_PER_INTENT_S = 1.0


def lab(count: int) -> Lab:
    """The lab with `count` intents; its progress counts those that wait and those that succeeded."""
    return Lab(
        "restart",
        partial(_repetition, count=count),
        variables={"INTENT_QUEUE_RATE_LIMIT_PER_PERIOD": "0", "SBX_QUEUE_RATE_LIMIT_PER_PERIOD": "0"},
        steps=2 * count,
    )


def _repetition(lab_round: Round, count: int) -> Json:
    stack, timeout = lab_round.stack, _TIMEOUT_S + count * _TIMEOUT_PER_INTENT_S
    lab_round.schedule = {"intents": count, "postgres": lab_round.random.choice(_POSTGRES_FAULTS)}
    began = time.monotonic()
    ids = _park(lab_round, count, timeout)
    parked = time.monotonic()
    _kill_all(lab_round)
    stack.process.start()
    ready = time.monotonic()
    waiting = stack.status_counts(ids).get("waiting_input", 0)
    expect(waiting == count, f"{waiting} of {count} runs are waiting after the restart: {stack.status_counts(ids)}")
    for workflow_id in ids:
        stack.approve(workflow_id)
    approved = time.monotonic()
    stack.wait_for_status(
        ids, "succeeded", timeout, lambda n: lab_round.report_progress(count + n, f"{n} of {count} succeeded")
    )
    ended = time.monotonic()
    unexpected = stack.rows("restart.unexpected_runs", workflow_ids=ids, tasks=TASKS)
    expect(not unexpected, f"{len(unexpected)} runs have unexpected rows, the first: {unexpected[:1]}")
    return {
        "intents": count,
        "succeeded": stack.status_counts(ids)["succeeded"],
        "stranded": count - stack.status_counts(ids)["succeeded"],
        "parked_after_s": round(parked - began, 2),
        "ready_again_after_s": round(ready - parked, 2),
        "all_approved_after_s": round(approved - ready, 2),
        "all_succeeded_after_s": round(ended - ready, 2),
    }


def _park(lab_round: Round, count: int, timeout: float) -> list[str]:
    """Submit the intents and wait until all wait for approval and the queues are idle; returns the workflow ids."""
    stack = lab_round.stack
    inputs = {"tests": [f"t{number}" for number in range(TASKS)]}
    ids = [
        stack.submit(f"restart {lab_round.number}/{number}", inputs, "restart-partition") for number in range(count)
    ]
    stack.wait_for_status(
        ids, "waiting_input", timeout, lambda n: lab_round.report_progress(n, f"{n} of {count} wait for approval")
    )
    stack.wait_until(
        lambda: _active(stack) == 0, _TIMEOUT_S, lambda: f"idle queues; {_active(stack)} workflows are active"
    )
    return ids


def _active(stack: RunningStack) -> int:
    return int(stack.row("restart.active_workflows")["count"])


def _kill_all(lab_round: Round) -> None:
    """Kill every process of the stack and of its database."""
    process = lab_round.stack.process
    server = stack_processes.postgres(process)
    killed = stack_processes.kill_everything(process)
    lab_round.record_fault("SIGKILL", "everything", processes=killed)
    if lab_round.schedule["postgres"] == "SIGKILL":
        victims = [each for each in server if stack_processes.kill(each.pid)]
    else:
        # What `pg_ctl stop -m immediate` sends; the server ends its own processes.
        victims = server
        stack_processes.send_signal(server[0].pid, signal.SIGQUIT)
    lab_round.record_fault(lab_round.schedule["postgres"], "postgres", pid=server[0].pid)
    _, left = psutil.wait_procs(victims, timeout=20)
    expect(not left, f"Postgres processes survived: {left}")
