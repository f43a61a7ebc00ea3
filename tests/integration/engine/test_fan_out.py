"""A large fan-out: at most 128 shards, one row per task, and a failed task that costs no other its result."""

from typing import Any

import pytest
from dagster import DagsterEventType

from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.queueing import fan_out
from sisu_pipeline.steps.execute import MAX_SHARDS
from tests.builders import a_run, an_intent
from tests.integration.engine import trials
from tests.integration.engine.intents import Stage, until
from tests.integration.engine.workers import Nursery

TASKS = 1000
VERSION = "v-fan"


@pytest.mark.slow
def test_a_thousand_tasks_are_128_shards_and_one_failed_task_is_reported_beside_every_other_result(
    stage: Stage, nursery: Nursery
) -> None:
    # `sleep N` takes so long on the mock; the last one would take longer than a task may.
    inputs = {"tests": [*(f"0.{n:06}" for n in range(1, TASKS)), "60"], "testCommand": "sleep"}
    with stage.dependencies.database.connect() as connection:
        workflow_id = a_run(connection, an_intent("large", inputs=inputs)).workflow_id
        connection.execute("UPDATE app.runs SET app_version = %s", [VERSION])
    stage.decide(workflow_id)
    settings: dict[str, Any] = {"DBOS__APPVERSION": VERSION, "SBX_DEFAULT_TIMEOUT_MS": "1500"}
    with nursery.worker("intentQ", **settings), nursery.worker("sbxQ", **settings):
        dagster_run_id = stage.request(workflow_id)
        run = stage.wait_for(workflow_id, RunStatus.RETRIES_EXCEEDED)
        until(lambda: stage.dagster_status(dagster_run_id) == "FAILURE")
    assert run.error == f"SBX execution failed [TIMEOUT]: 1 of {TASKS} tasks"
    counts = stage.rows("SELECT err_code, count(*) AS tasks FROM app.sbx_runs GROUP BY err_code ORDER BY err_code")
    assert counts == [{"err_code": "NONE", "tasks": TASKS - 1}, {"err_code": "TIMEOUT", "tasks": 1}]
    events = trials.events(stage.instance, dagster_run_id)
    shards = [
        e for e in events if e.event_type is DagsterEventType.STEP_SUCCESS and "sandbox_task[" in str(e.step_key)
    ]
    assert len(shards) == MAX_SHARDS
    assert (
        stage.value("SELECT count(DISTINCT workflow_uuid) FROM dbos.workflow_status WHERE queue_name = 'sbxQ'")
        == TASKS
    )
    assert stage.value("SELECT max(seen_count) FROM app.mock_receipts") == 1
    assert (
        stage.value(
            "SELECT jsonb_array_length(output #> '{raw,tasks}') FROM app.run_steps WHERE step_id = 'ExecuteST'"
        )
        == TASKS
    )
    # 840 judges succeeded runs; the tasks' keys are of this version's own time limit.
    assert stage.broken_laws() == []


@pytest.mark.slow
def test_a_thousand_tasks_are_enqueued_once_however_often_the_fan_out_starts(stage: Stage) -> None:
    workflow_id = stage.decided("enqueued", tests=[f"t{n}" for n in range(1000)], command="run", version="v-nobody")
    names = fan_out.start(stage.dependencies, workflow_id)
    assert len(names) == MAX_SHARDS
    assert fan_out.start(stage.dependencies, workflow_id) == names
    positions = sorted(position for name in names for position in fan_out.positions_in(name))
    assert positions == list(range(1000))
    rows = stage.rows("SELECT queue_name, status, count(*) AS tasks FROM dbos.workflow_status GROUP BY 1, 2")
    assert rows == [{"queue_name": "sbxQ", "status": "ENQUEUED", "tasks": 1000}]


def test_a_tasks_row_is_on_sbxq_in_its_parents_partition_and_its_id_is_its_key(stage: Stage) -> None:
    workflow_id = stage.decided("one", tests=["t"], command="run", queuePartitionKey="tenant-7", version="v-nobody")
    fan_out.start(stage.dependencies, workflow_id)
    (row,) = stage.rows("SELECT * FROM dbos.workflow_status")
    assert (row["queue_name"], row["queue_partition_key"], row["application_version"]) == (
        "sbxQ",
        "tenant-7",
        "v-nobody",
    )
    assert len(row["workflow_uuid"]) == 64
