"""What the queue hands a worker for a segment: the intent and its Dagster run, or the form of earlier releases."""

import dagster as dg
import pytest
from dagster._core.launcher.base import LaunchRunContext

from sisu_pipeline.contracts.intent import QueueName
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.queueing import dbos_queues, segment_queue
from sisu_pipeline.queueing.segment_queue import SegmentRequest
from sisu_pipeline.worker import segment_runner
from tests.integration.engine.intents import Stage, until
from tests.integration.engine.workers import Nursery


def arguments(stage: Stage, segment_workflow_id: str) -> tuple[str | None, ...]:
    """The arguments in a row of the queue."""
    client = dbos_queues.client(stage.dependencies.database)
    (found,) = client.list_workflows(workflow_ids=[segment_workflow_id])
    assert found.input is not None
    return tuple(found.input["args"])


def enqueue_as_earlier_releases_did(stage: Stage, segment_workflow_id: str, dagster_run_id: str) -> None:
    """The row of a segment whose only argument is the Dagster run's id."""
    dbos_queues.client(stage.dependencies.database).enqueue(
        {
            "queue_name": QueueName.INTENT,
            "workflow_name": dbos_queues.SEGMENT_WORKFLOW,
            "workflow_id": segment_workflow_id,
            "queue_partition_key": "default",
            "priority": 1,
            "app_version": "v1",
        },
        dagster_run_id,
    )


def a_job(stage: Stage) -> str:
    """A Dagster run of a job without an intent, created and not launched."""
    job = segment_runner.repository().get_job("approve_plan")
    config = {"ops": {"approve_plan_op": {"config": {"run_id": "run_nowhere", "decided_by": "ann"}}}}
    return stage.instance.create_run_for_job(job, run_config=config).run_id


def test_a_segment_of_an_intent_carries_the_intents_id_and_its_dagster_runs(stage: Stage) -> None:
    workflow_id = stage.intent("first and second segment")
    dagster_run_id = stage.request(workflow_id)
    stage.run_segment(workflow_id, dagster_run_id)
    stage.decide(workflow_id)
    stage.sensor_tick()
    for segment in (workflow_id, f"{workflow_id}/2"):
        assert arguments(stage, segment) == (workflow_id, dagster_run_id)
    assert segment_runner.segment_request(workflow_id, dagster_run_id) == SegmentRequest(
        workflow_id, dagster_run_id
    )


def test_a_segment_of_a_job_carries_no_intent(stage: Stage) -> None:
    dagster_run_id = a_job(stage)
    run = stage.instance.get_run_by_id(dagster_run_id)
    assert run is not None
    stage.instance.run_launcher.launch_run(LaunchRunContext(dagster_run=run, workspace=None))
    assert arguments(stage, f"job/{dagster_run_id}") == (None, dagster_run_id)


def test_a_row_of_an_earlier_release_is_read_as_the_intent_of_its_dagster_run(stage: Stage) -> None:
    workflow_id = stage.intent("enqueued before the upgrade")
    dagster_run_id, job = stage.dagster_run(workflow_id), a_job(stage)
    assert segment_runner.segment_request(dagster_run_id) == SegmentRequest(workflow_id, dagster_run_id)
    assert segment_runner.segment_request(job) == SegmentRequest(None, job)
    assert segment_runner.segment_request("deleted meanwhile") == SegmentRequest(None, "deleted meanwhile")


def test_a_row_with_other_arguments_is_an_error(stage: Stage) -> None:
    with pytest.raises(ValueError, match="holds an intent's id and a Dagster run's"):
        segment_runner.segment_request("a", "b", "c")


def test_a_worker_executes_the_segments_that_an_earlier_release_enqueued(stage: Stage, nursery: Nursery) -> None:
    workflow_id = stage.intent("in flight during the upgrade")
    dagster_run_id, job = stage.request(workflow_id), a_job(stage)
    with stage.dependencies.database.connect() as connection:
        connection.execute("DELETE FROM dbos.workflow_status")
    enqueue_as_earlier_releases_did(stage, workflow_id, dagster_run_id)
    enqueue_as_earlier_releases_did(stage, f"job/{job}", job)
    with nursery.worker("intentQ"):
        stage.wait_for(workflow_id, RunStatus.WAITING_INPUT)
        until(lambda: set(stage.queue().values()) == {"SUCCESS"}, "a segment of the earlier release did not end")
    assert stage.dagster_status(dagster_run_id) == dg.DagsterRunStatus.SUSPENDED.value
    assert stage.dagster_status(job) == "FAILURE"  # its run does not exist


def test_segments_of_one_intent_never_share_a_queue_workflow(stage: Stage) -> None:
    workflow_id = stage.intent("two segments")
    stage.request(workflow_id)
    first = segment_queue.of_run(stage.run(workflow_id))
    assert first.segment_workflow_id == first.request.workflow_id == workflow_id
    with stage.dependencies.database.connect() as connection:
        connection.execute("UPDATE app.runs SET segment = 2")
    second = segment_queue.of_run(stage.run(workflow_id))
    assert (second.segment_workflow_id, second.request) == (f"{workflow_id}/2", first.request)
