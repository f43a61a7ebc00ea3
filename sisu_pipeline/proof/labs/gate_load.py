"""Lab gate: many intents wait, then many people decide about all of them at once; each run ends as was said first.

The latency here is of requests that share the machine with the workers they set to work. What the API and
Postgres do alone is measured by `tests.integration.gate.load`.
"""

import asyncio
import time
from functools import partial

from sisu_pipeline.proof.harness import load_generator
from sisu_pipeline.proof.harness.lab_rounds import Json, Lab, Round, expect
from sisu_pipeline.proof.harness.running_stack import Stage

TASKS = 1
_ENDS = {"approved": "succeeded", "rejected": "retries_exceeded"}
_FILES = {"a.txt": "before\n"}
_PATCHES = [{"targetPath": "a.txt", "postimageContent": "after\n", "diffText": "-before\n+after\n"}]
# A busy machine parks three and ends five in a second; what starts needs a minute at most.
_PATIENCE_S = 60.0
_PATIENCE_PER_INTENT_S = 1.0


def lab(count: int, clients: int) -> Lab:
    """The lab with so many intents and people; its progress counts runs that wait and runs that ended."""
    return Lab(
        "gate",
        partial(_repetition, count=count, clients=clients),
        variables={
            "INTENT_QUEUE_RATE_LIMIT_PER_PERIOD": "0",
            "SBX_QUEUE_RATE_LIMIT_PER_PERIOD": "0",
            # Nobody is to be too late, however long parking takes.
            "HITL_PLAN_APPROVAL_TIMEOUT_S": "86400",
        },
        steps=2 * count,
    )


def _repetition(one: Round, count: int, clients: int) -> Json:
    stage, patience = one.stage, _PATIENCE_S + count * _PATIENCE_PER_INTENT_S
    one.schedule = {"intents": count, "clients": clients}
    began = time.monotonic()
    inputs = {"files": _FILES, "patches": _PATCHES, "tests": [f"t{number}" for number in range(TASKS)]}
    ids = [stage.submit(f"gate {one.number}/{number}", inputs, "gate-partition") for number in range(count)]
    stage.wait_for(ids, "waiting_input", patience, lambda n: one.show(n, f"{n} of {count} wait for a person"))
    parked = time.monotonic()
    runs = {row["id"]: row for row in stage.rows("gate_load.outcomes", workflow_ids=ids)}
    wanted = load_generator.wishes(list(runs), one.random)
    answers, seconds = asyncio.run(load_generator.decide(stage.stack.settings.port, wanted, clients))
    decided = {row["id"]: row["decision"] for row in stage.rows("gate_load.outcomes", workflow_ids=ids)}
    wrong = load_generator.wrong(answers, decided)
    expect(not wrong, f"{len(wrong)} answers contradict what is stored, the first: {wrong[:1]}")
    said_at = time.monotonic()
    _wait_for_the_ends(one, ids, patience)
    return {
        "intents": count,
        "clients": clients,
        **_judge(stage, ids),
        "decision": load_generator.figures(answers, seconds),
        "parked_after_s": round(parked - began, 2),
        "all_ended_after_s": round(time.monotonic() - said_at, 2),
    }


def _wait_for_the_ends(one: Round, ids: list[str], patience: float) -> None:
    ends = set(_ENDS.values())

    def have_ended() -> bool:
        statuses = one.stage.statuses(ids)
        ended = sum(count for status, count in statuses.items() if status in ends)
        one.show(len(ids) + ended, f"{ended} of {len(ids)} ended")
        return ended == len(ids)

    one.stage.until(have_ended, patience, lambda: f"every run ended; have {one.stage.statuses(ids)}")


def _judge(stage: Stage, ids: list[str]) -> Json:
    """Every run: one decision, one word in the ledger, the end that was decided, each task executed once."""
    rows = stage.rows("gate_load.outcomes", workflow_ids=ids)
    expect(len(rows) == len(ids), f"{len(rows)} runs of {len(ids)} intents")
    odd = [row for row in rows if not _is_as_decided(row)]
    expect(not odd, f"{len(odd)} runs are not as was decided, the first: {odd[:1]}")
    return {
        "decisions": sum(row["decision"] is not None for row in rows),
        "succeeded": sum(row["status"] == _ENDS["approved"] for row in rows),
        "rejected": sum(row["status"] == _ENDS["rejected"] for row in rows),
        "receipts": sum(row["receipts"] for row in rows),
        "executions": sum(row["executions"] for row in rows),
    }


def _is_as_decided(row: Json) -> bool:
    tasks = TASKS if row["decision"] == "approved" else 0
    wanted: Json = {
        "status": _ENDS.get(row["decision"]),
        "said": 1,
        "dagster_runs": 1,
        "receipts": tasks,
        "executions": tasks,
        "patches_left": 1 if tasks else 0,
    }
    return wanted.items() <= row.items()
