"""A claim whose COMMIT reply was lost: the worker that holds it unknowingly requeues it."""

from dataclasses import replace

import pytest

from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.queueing import segment_queue
from sisu_pipeline.recovery import lost_claims
from sisu_pipeline.recovery.lost_claims import LostClaims
from sisu_pipeline.store import runs
from tests.integration.engine.intents import Stage, until
from tests.integration.engine.workers import Nursery

_CLAIM = """
UPDATE dbos.workflow_status SET status = 'PENDING', executor_id = %s, application_version = 'v1'
WHERE workflow_uuid = %s"""


def claim(stage: Stage, workflow_id: str, executor_id: str) -> None:
    """What the lost COMMIT did."""
    with stage.dependencies.database.connect() as connection:
        connection.execute(_CLAIM, [executor_id, workflow_id])


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost_claims, "CHECK_INTERVAL_SECONDS", 0.0)
    monkeypatch.setattr(lost_claims, "START_TIMEOUT_SECONDS", 0.0)


@pytest.mark.usefixtures("hasty")
def test_a_claim_that_was_never_begun_is_requeued_when_it_is_seen_twice(stage: Stage) -> None:
    unknown, executing, other = (stage.intent(goal) for goal in ("unknown", "executing", "somebody else's"))
    for workflow_id, executor_id in ((unknown, "me"), (executing, "me"), (other, "other")):
        stage.request(workflow_id)
        claim(stage, workflow_id, executor_id)
    mine = LostClaims(stage.dependencies.database, "me", lambda: [executing])
    assert mine.requeue() == [], "it may just be about to begin"
    assert mine.requeue() == [unknown]
    assert mine.requeue() == []
    assert stage.queue() == {unknown: "ENQUEUED", executing: "PENDING", other: "PENDING"}


@pytest.mark.usefixtures("hasty")
def test_a_claim_that_began_or_ended_meanwhile_is_not_requeued(stage: Stage) -> None:
    slow, quick = stage.intent("slow to begin"), stage.intent("quick to end")
    for workflow_id in (slow, quick):
        stage.request(workflow_id)
        claim(stage, workflow_id, "me")
    begun: list[str] = []
    mine = LostClaims(stage.dependencies.database, "me", lambda: begun)
    assert mine.requeue() == []
    begun.append(slow)
    with stage.dependencies.database.connect() as connection:
        connection.execute("UPDATE dbos.workflow_status SET status = 'SUCCESS' WHERE workflow_uuid = %s", [quick])
    assert mine.requeue() == []
    # As if it had never been seen: its time begins anew.
    begun.clear()
    assert mine.requeue() == []
    assert mine.requeue() == [slow]


@pytest.mark.slow
def test_a_worker_executes_a_claim_whose_commit_reply_was_lost(stage: Stage, nursery: Nursery) -> None:
    first, lost = stage.intent("tells who works here"), stage.intent("its claim was lost")
    with nursery.worker("intentQ"):
        stage.request(first)
        stage.wait_for(first, RunStatus.WAITING_INPUT)
        until(lambda: stage.queue()[first] == "SUCCESS", "the segment does not end")
        executor_id = stage.value("SELECT executor_id FROM dbos.workflow_status WHERE workflow_uuid = %s", first)
        dagster_run_id = stage.dagster_run(lost)
        with stage.dependencies.database.connect() as connection:
            run = runs.claim(connection, lost, dagster_run_id)
        assert run is not None
        segment_queue.enqueue(
            stage.dependencies.database, segment_queue.of_run(replace(run, app_version="v-nobody"))
        )
        claim(stage, lost, executor_id)
        stage.wait_for(lost, RunStatus.WAITING_INPUT)
    assert stage.broken_laws() == []
