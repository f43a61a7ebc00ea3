"""Lab gate: many clients decide concurrently on many waiting intents; each run ends as first decided.

The latency includes contention with the workers that the decisions set to work on the same machine.
`tests.integration.gate.load` measures the API and Postgres alone.
"""

import asyncio
import time
from functools import partial

from sisu_pipeline.proof.harness import load_generator
from sisu_pipeline.proof.harness.lab_rounds import Json, Lab, Round, expect
from sisu_pipeline.proof.harness.running_stack import RunningStack

TASKS = 1
_ENDS = {"approved": "succeeded", "rejected": "retries_exceeded"}
_FILES = {"a.txt": "before\n"}
_PATCHES = [{"targetPath": "a.txt", "postimageContent": "after\n", "diffText": "-before\n+after\n"}]
# On a busy machine three intents reach their gate and five end per second; a start takes a minute at most.
_TIMEOUT_S = 60.0
_TIMEOUT_PER_INTENT_S = 1.0


def lab(count: int, clients: int) -> Lab:
    """The lab with `count` intents and `clients` clients; its progress counts waiting and ended runs."""
    return Lab(
        "gate",
        partial(_repetition, count=count, clients=clients),
        variables={
            "INTENT_QUEUE_RATE_LIMIT_PER_PERIOD": "0",
            "SBX_QUEUE_RATE_LIMIT_PER_PERIOD": "0",
            # No gate may reach its deadline while the others are still being opened.
            "HITL_PLAN_APPROVAL_TIMEOUT_S": "86400",
        },
        steps=2 * count,
    )


def _repetition(lab_round: Round, count: int, clients: int) -> Json:
    stack, timeout = lab_round.stack, _TIMEOUT_S + count * _TIMEOUT_PER_INTENT_S
    lab_round.schedule = {"intents": count, "clients": clients}
    began = time.monotonic()
    inputs = {"files": _FILES, "patches": _PATCHES, "tests": [f"t{number}" for number in range(TASKS)]}
    ids = [stack.submit(f"gate {lab_round.number}/{number}", inputs, "gate-partition") for number in range(count)]
    stack.wait_for_status(
        ids, "waiting_input", timeout, lambda n: lab_round.report_progress(n, f"{n} of {count} wait for a decision")
    )
    parked = time.monotonic()
    runs = {row["id"]: row for row in stack.rows("gate_load.outcomes", workflow_ids=ids)}
    requests = load_generator.draw_requests(list(runs), lab_round.random)
    responses, seconds = asyncio.run(load_generator.send_all(stack.process.settings.port, requests, clients))
    decided = {row["id"]: row["decision"] for row in stack.rows("gate_load.outcomes", workflow_ids=ids)}
    wrong = load_generator.contradictions(responses, decided)
    expect(not wrong, f"{len(wrong)} responses contradict the stored decision, the first: {wrong[:1]}")
    decided_at = time.monotonic()
    _wait_for_ends(lab_round, ids, timeout)
    return {
        "intents": count,
        "clients": clients,
        **_judge(stack, ids),
        "decision": load_generator.summarize(responses, seconds),
        "parked_after_s": round(parked - began, 2),
        "all_ended_after_s": round(time.monotonic() - decided_at, 2),
    }


def _wait_for_ends(lab_round: Round, ids: list[str], timeout: float) -> None:
    stack, ends = lab_round.stack, set(_ENDS.values())

    def all_ended() -> bool:
        ended = sum(count for status, count in stack.status_counts(ids).items() if status in ends)
        lab_round.report_progress(len(ids) + ended, f"{ended} of {len(ids)} ended")
        return ended == len(ids)

    stack.wait_until(all_ended, timeout, lambda: f"all runs to end, got {stack.status_counts(ids)}")


def _judge(stack: RunningStack, ids: list[str]) -> Json:
    """Check every run: one decision, one interaction, the end it implies, each task executed once."""
    rows = stack.rows("gate_load.outcomes", workflow_ids=ids)
    expect(len(rows) == len(ids), f"expected {len(ids)} runs, got {len(rows)}")
    odd = [row for row in rows if not _is_as_decided(row)]
    expect(not odd, f"{len(odd)} runs did not end as decided, the first: {odd[:1]}")
    return {
        "decisions": sum(row["decision"] is not None for row in rows),
        "succeeded": sum(row["status"] == _ENDS["approved"] for row in rows),
        "rejected": sum(row["status"] == _ENDS["rejected"] for row in rows),
        "receipts": sum(row["receipts"] for row in rows),
        "executions": sum(row["executions"] for row in rows),
    }


def _is_as_decided(row: Json) -> bool:
    tasks = TASKS if row["decision"] == "approved" else 0
    expected: Json = {
        "status": _ENDS.get(row["decision"]),
        "interactions": 1,
        "dagster_runs": 1,
        "receipts": tasks,
        "executions": tasks,
        "patches_left": 1 if tasks else 0,
    }
    return expected.items() <= row.items()
