"""Whatever an operator does to the runs, partitions and assets of Dagster, the intent's row stays true."""

import threading
from collections.abc import Callable

import pytest

from sisu_pipeline.defs.asset_keys import COMPILED_INTENT, PATCHED_PLAN
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.recovery import cancel_cleanup, run_recovery
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
    assert stage.broken_laws() == []


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
    segment.join(20)
    assert not segment.is_alive()
    run_recovery.cancel_removed(stage.dependencies)
    assert stage.run(workflow_id).status is RunStatus.CANCELED
    cancel_cleanup.clean_up_canceled(stage.dependencies, lambda _run, _reason: None)
    until(lambda: not {"ENQUEUED", "PENDING"} & set(stage.queue("sbxQ").values()), "its task never ended")
    assert stage.broken_laws() == []
