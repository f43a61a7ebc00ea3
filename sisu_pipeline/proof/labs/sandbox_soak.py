"""Lab sandbox-soak: a hundred intents one after another, each approved at once; percentiles."""

from sisu_pipeline.proof.harness.lab_rounds import Json, Lab, Round, expect, percentiles

INTENTS = 100
_TIMEOUT_S = 240.0


def _repetition(one: Round) -> Json:
    stage, draw = one.stage, one.random
    counts = [draw.randint(1, 3) for _ in range(INTENTS)]
    one.schedule = {"tasks_of_each_intent": counts}
    ids = []
    for number, tasks in enumerate(counts):
        inputs = {"n": number, "tests": [f"t{task}" for task in range(tasks)], "testCommand": "sleep 0.05"}
        workflow_id = stage.submit(f"sandbox soak {one.number}", inputs, "soak-partition")
        stage.approve(workflow_id)
        ids.append(workflow_id)
    stage.wait_for(ids, "succeeded", _TIMEOUT_S, lambda n: one.say(f"{n} of {INTENTS} intents succeeded"))
    rows = [stage.row("labs.of_run", workflow_id=workflow_id) for workflow_id in ids]
    for row, tasks in zip(rows, counts, strict=True):
        expect(row["tasks"] == tasks == row["receipts"] and not row["repeated"], f"{row['id']}: {row}")
    return {
        "succeeded": len(ids),
        "tasks": sum(counts),
        "wall_s": percentiles([row["seconds"] for row in rows]),
    }


LAB = Lab("sandbox-soak", _repetition, variables={"INTENT_QUEUE_RATE_LIMIT_PER_PERIOD": "0"})
