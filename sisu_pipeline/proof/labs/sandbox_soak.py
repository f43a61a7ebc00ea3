"""Lab sandbox-soak: submit and approve a hundred intents one after another; all succeed. Reports percentiles."""

from sisu_pipeline.proof.harness.lab_rounds import Json, Lab, Round, expect, percentiles

INTENTS = 100
_TIMEOUT_S = 240.0


def _repetition(lab_round: Round) -> Json:
    stack, draw = lab_round.stack, lab_round.random
    counts = [draw.randint(1, 3) for _ in range(INTENTS)]
    lab_round.schedule = {"tasks_of_each_intent": counts}
    ids = []
    for number, tasks in enumerate(counts):
        inputs = {"n": number, "tests": [f"t{task}" for task in range(tasks)], "testCommand": "sleep 0.05"}
        workflow_id = stack.submit(f"sandbox soak {lab_round.number}", inputs, "soak-partition")
        stack.approve(workflow_id)
        ids.append(workflow_id)
    stack.wait_for_status(
        ids,
        "succeeded",
        _TIMEOUT_S,
        lambda n: lab_round.report_activity(f"{n} of {INTENTS} intents succeeded"),
    )
    rows = [stack.row("labs.of_run", workflow_id=workflow_id) for workflow_id in ids]
    for row, tasks in zip(rows, counts, strict=True):
        expect(
            row["tasks"] == tasks == row["receipts"] and not row["repeated"],
            f"expected {tasks} tasks of {row['id']}, each executed once: {row}",
        )
    return {
        "succeeded": len(ids),
        "tasks": sum(counts),
        "wall_s": percentiles([row["seconds"] for row in rows]),
    }


LAB = Lab("sandbox-soak", _repetition, variables={"INTENT_QUEUE_RATE_LIMIT_PER_PERIOD": "0"})
