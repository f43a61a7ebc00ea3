"""Whatever an operator does to runs, partitions and assets in Dagster, the intent's row stays true."""

import threading
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from dagster._core.storage.tags import PARTITION_NAME_TAG, RUN_KEY_TAG
from dagster_postgres import PostgresRunStorage

from sisu_pipeline.defs.asset_keys import COMPILED_INTENT, INTENT_JOB, PATCHED_PLAN
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.recovery import cancel_cleanup, run_recovery
from sisu_pipeline.recovery.lost_work import LOST_AFTER_SECONDS, LostWork
from sisu_pipeline.store.queues import outbox
from sisu_pipeline.worker import segment_runner
from tests.integration.engine.intents import Stage, until
from tests.integration.engine.test_operators_in_dagster import delete, force_to_end
from tests.integration.engine.workers import Worker


def delete_partition(stage: Stage, workflow_id: str) -> None:
    stage.instance.delete_dynamic_partition("intents", workflow_id)


def wipe(stage: Stage, workflow_id: str) -> None:
    stage.instance.wipe_assets([COMPILED_INTENT, PATCHED_PLAN])


@pytest.mark.parametrize("operate", [delete_partition, wipe])
@pytest.mark.parametrize("is_waiting", [False, True], ids=["queued", "waiting"])
def test_an_intent_whose_partition_or_assets_were_removed_is_executed_to_its_end(
    stage: Stage, sandbox_worker: Worker, operate: Callable[[Stage, str], None], is_waiting: bool
) -> None:
    workflow_id = stage.intent(f"{operate.__name__} {is_waiting}")
    dagster_run_id = stage.request(workflow_id)
    if is_waiting:
        stage.run_segment(workflow_id, dagster_run_id)
        assert stage.run(workflow_id).status is RunStatus.WAITING_INPUT
    operate(stage, workflow_id)
    stage.decide(workflow_id)
    stage.run_segment(workflow_id, dagster_run_id)
    assert stage.run(workflow_id).status is RunStatus.SUCCEEDED
    assert stage.dagster_status(dagster_run_id) == "SUCCESS"
    assert stage.instance.has_dynamic_partition("intents", workflow_id)
    assert stage.broken_laws() == []


def test_a_partition_that_is_deleted_while_its_intent_runs_fails_no_step(
    stage: Stage, sandbox_worker: Worker
) -> None:
    workflow_id = stage.intent("partition deleted while it runs", tests=1, command="sleep 0.5")
    dagster_run_id = stage.request(workflow_id)
    stage.decide(workflow_id)
    segment = threading.Thread(target=stage.run_segment, args=(workflow_id, dagster_run_id))
    segment.start()
    until(lambda: stage.instance.has_dynamic_partition("intents", workflow_id) and stage.queue("sbxQ") != {})
    delete_partition(stage, workflow_id)
    segment.join(60)
    assert stage.run(workflow_id).status is RunStatus.SUCCEEDED


@pytest.mark.parametrize("operate", [delete, force_to_end])
def test_a_running_intent_is_canceled_with_its_dagster_run(
    stage: Stage, sandbox_worker: Worker, operate: Callable[[Stage, str], None]
) -> None:
    workflow_id = stage.intent(f"running {operate.__name__}", command="sleep 60")
    dagster_run_id = stage.request(workflow_id)
    stage.decide(workflow_id)
    segment = threading.Thread(target=stage.run_segment, args=(workflow_id, dagster_run_id))
    segment.start()
    until(lambda: "PENDING" in stage.queue("sbxQ").values(), "its task never started")
    operate(stage, dagster_run_id)
    assert run_recovery.cancel_removed(stage.dependencies) == [workflow_id]
    segment.join(20)
    assert not segment.is_alive()
    assert stage.run(workflow_id).status is RunStatus.CANCELED
    until(lambda: not {"ENQUEUED", "PENDING"} & set(stage.queue("sbxQ").values()), "its task never ended")
    cancel_cleanup.clean_up_canceled(stage.dependencies, lambda _run, _reason: None)
    assert stage.broken_laws() == []


def test_an_intent_whose_dagster_run_was_canceled_before_its_launch_is_canceled(stage: Stage) -> None:
    """Dagster creates no second run for a key, so the intent would stay queued for ever."""
    workflow_id = stage.intent("canceled before its launch")
    with stage.dependencies.database.connect() as connection:
        outbox.mark_requested(connection, [workflow_id])
    dagster_run_id = _requested_by_the_sensor(stage, workflow_id)
    assert run_recovery.cancel_removed(stage.dependencies) == []
    force_to_end(stage, dagster_run_id)
    assert run_recovery.cancel_removed(stage.dependencies) == [workflow_id]
    run = stage.run(workflow_id)
    assert (run.status, run.error) == (
        RunStatus.CANCELED,
        f"canceled by dagster: its Dagster run {dagster_run_id} was canceled",
    )


def test_of_two_dagster_runs_of_two_daemons_one_owns_the_intent(stage: Stage) -> None:
    """Two daemons evaluate one sensor at once, and each creates a run for the same key."""
    workflow_id = stage.intent("two daemons")
    with stage.dependencies.database.connect() as connection:
        outbox.mark_requested(connection, [workflow_id])
    first, second = (_requested_by_the_sensor(stage, workflow_id) for _ in range(2))
    launches = [threading.Thread(target=stage.launch, args=(run,)) for run in (first, second)]
    for launch in launches:
        launch.start()
    for launch in launches:
        launch.join(30)
    owner = stage.run(workflow_id).dagster_run_id
    (other,) = {first, second} - {owner}
    assert stage.dagster_status(other) == "CANCELED"
    assert run_recovery.cancel_removed(stage.dependencies) == []
    assert stage.queue() == {workflow_id: "ENQUEUED"}


def test_recovery_makes_no_run_of_another_job_the_owner_of_an_intent(stage: Stage) -> None:
    workflow_id = stage.intent("one asset")
    with stage.dependencies.database.connect() as connection:
        outbox.mark_requested(connection, [workflow_id])
        connection.execute("UPDATE app.runs SET requested_at = now() - interval '1 minute'")
    of_assets = _requested_by_the_sensor(stage, workflow_id)
    stage.rows(
        "UPDATE dagster.runs SET status = 'STARTING', pipeline_name = '__ASSET_JOB' WHERE run_id = %s RETURNING 1",
        of_assets,
    )
    now = 0.0
    lost_work = LostWork(stage.dependencies, lambda: now)
    assert lost_work.resume() == []
    now = LOST_AFTER_SECONDS
    assert lost_work.resume() == []
    assert stage.run(workflow_id).dagster_run_id is None


def test_a_dagster_run_is_stored_with_its_tags_or_not_at_all(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that dies between two statements leaves no run that its partition does not show."""
    workflow_id = stage.intent("tags")
    storage = stage.instance.run_storage
    assert isinstance(storage, PostgresRunStorage)
    engine = storage._engine

    def die(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "INSERT INTO run_tags" in statement:
            raise SystemExit("died between the run and its tags")

    sa.event.listen(engine, "before_cursor_execute", die)
    try:
        with pytest.raises(SystemExit):
            stage.dagster_run(workflow_id)
    finally:
        sa.event.remove(engine, "before_cursor_execute", die)
    found = "SELECT count(*) FROM dagster.runs WHERE partition = %s"
    assert stage.value(found, workflow_id) == 0
    dagster_run_id = stage.dagster_run(workflow_id)
    assert stage.value(found, workflow_id) == 1
    stage.instance.add_run_tags(dagster_run_id, {"a": "b"})
    tags = stage.rows("SELECT key, value FROM dagster.run_tags WHERE run_id = %s", dagster_run_id)
    assert {"key": "a", "value": "b"} in tags
    assert {"key": PARTITION_NAME_TAG, "value": workflow_id} in tags


def _requested_by_the_sensor(stage: Stage, workflow_id: str) -> str:
    """A Dagster run as the daemon creates it for the sensor's request, not launched yet."""
    stage.instance.add_dynamic_partitions("intents", [workflow_id])
    run = stage.instance.create_run_for_job(
        segment_runner.repository().get_job(INTENT_JOB),
        tags={PARTITION_NAME_TAG: workflow_id, RUN_KEY_TAG: f"{workflow_id}#0"},
    )
    return run.run_id
