"""A decision at any moment between the check of the gate and the suspension continues the run, exactly once.

Each test arranges its moment with real rows: the decision is made exactly then, on another connection or thread.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from dagster import DagsterEvent
from dagster._core.execution.context.system import PlanOrchestrationContext

from resources.database import Connection, Database
from sensors import approval_sensor
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.engine import run_driver
from sisu_pipeline.engine.step_executor import Gatekeeper
from sisu_pipeline.store import gates, runs
from sisu_pipeline.store.queues import outbox
from sisu_pipeline.store.queues.outbox import DecidedRun
from sisu_pipeline.store.runs import Run
from sisu_pipeline.worker import segment_runner
from sisu_pipeline.workflow import ownership
from tests.integration.engine.intents import Stage, until
from tests.integration.engine.workers import Worker

Arm = Callable[[pytest.MonkeyPatch, Stage, str], None]

_DECIDERS: list[threading.Thread] = []


def decide_in_a_thread(stage: Stage, workflow_id: str) -> None:
    """A decision that may have to wait for a lock this thread holds; returns once it is made or waits for it."""
    decider = threading.Thread(target=stage.decide, args=(workflow_id,))
    decider.start()
    _DECIDERS.append(decider)
    until(
        lambda: (
            not decider.is_alive()
            or stage.value(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid <> pg_backend_pid()"
            )
            > 0
        )
    )


def at_the_plan_gate(stage: Stage, workflow_id: str) -> bool:
    return stage.run(workflow_id).last_step == "ApplyPatchST"


def change_keeper(patch: pytest.MonkeyPatch, change: Callable[[Gatekeeper], Gatekeeper]) -> None:
    make = segment_runner._gatekeeper
    patch.setattr(segment_runner, "_gatekeeper", lambda *facts: change(make(*facts)))


def before_the_check(patch: pytest.MonkeyPatch, stage: Stage, workflow_id: str) -> None:
    def change(keeper: Gatekeeper) -> Gatekeeper:
        def is_decided() -> bool:
            if at_the_plan_gate(stage, workflow_id):
                stage.decide(workflow_id)
            return keeper.is_decided()

        return replace(keeper, is_decided=is_decided)

    change_keeper(patch, change)


def between_check_and_suspension(patch: pytest.MonkeyPatch, stage: Stage, workflow_id: str) -> None:
    def change(keeper: Gatekeeper) -> Gatekeeper:
        def is_decided() -> bool:
            decided = keeper.is_decided()
            if at_the_plan_gate(stage, workflow_id):
                assert not decided
                stage.decide(workflow_id)
            return decided

        return replace(keeper, is_decided=is_decided)

    change_keeper(patch, change)


def as_the_suspension_begins(patch: pytest.MonkeyPatch, stage: Stage, workflow_id: str) -> None:
    def change(keeper: Gatekeeper) -> Gatekeeper:
        def suspend() -> bool:
            stage.decide(workflow_id)
            return keeper.suspend()

        return replace(keeper, suspend=suspend)

    change_keeper(patch, change)


def inside_the_suspension_before_it_looks(patch: pytest.MonkeyPatch, stage: Stage, workflow_id: str) -> None:
    suspend, look = ownership.suspend, gates.is_passed

    def is_passed(connection: Connection, run: Run) -> bool:
        # The run's row is locked here: the decision waits for the suspension's end.
        decide_in_a_thread(stage, workflow_id)
        return look(connection, run)

    def suspending(database: Database, workflow_id: str) -> bool:
        with pytest.MonkeyPatch.context() as inside:
            inside.setattr(gates, "is_passed", is_passed)
            return suspend(database, workflow_id)

    patch.setattr(ownership, "suspend", suspending)


def inside_the_suspension_before_its_commit(patch: pytest.MonkeyPatch, stage: Stage, workflow_id: str) -> None:
    move = runs.move

    def moving(connection: Connection, run: Run, status: RunStatus, **changes: Any) -> Run:
        moved = move(connection, run, status, **changes)
        if status is RunStatus.WAITING_INPUT:
            decide_in_a_thread(stage, workflow_id)
        return moved

    patch.setattr(runs, "move", moving)


def after_the_suspension_before_it_is_told(patch: pytest.MonkeyPatch, stage: Stage, workflow_id: str) -> None:
    suspended = DagsterEvent.job_suspended

    def job_suspended(context: PlanOrchestrationContext, message: str) -> DagsterEvent:
        stage.decide(workflow_id)
        return suspended(context, message)

    patch.setattr(DagsterEvent, "job_suspended", job_suspended)


def after_it_is_told_before_the_lock_is_free(patch: pytest.MonkeyPatch, stage: Stage, workflow_id: str) -> None:
    drive = run_driver.drive

    def driving(*facts: Any) -> None:
        drive(*facts)
        if stage.run(workflow_id).status is RunStatus.WAITING_INPUT:
            stage.decide(workflow_id)

    patch.setattr(run_driver, "drive", driving)


# Which moments are seen by the segment itself: it goes on, and suspends nothing.
MOMENTS: dict[Arm, bool] = {
    before_the_check: True,
    between_check_and_suspension: True,
    as_the_suspension_begins: True,
    inside_the_suspension_before_it_looks: False,
    inside_the_suspension_before_its_commit: False,
    after_the_suspension_before_it_is_told: False,
    after_it_is_told_before_the_lock_is_free: False,
}


@pytest.mark.parametrize("arm", MOMENTS, ids=lambda arm: arm.__name__)
def test_a_decision_at_any_moment_of_a_suspension_continues_the_run_once(
    stage: Stage, sandbox_worker: Worker, monkeypatch: pytest.MonkeyPatch, arm: Arm
) -> None:
    workflow_id = stage.intent(arm.__name__)
    dagster_run_id = stage.request(workflow_id)
    _DECIDERS.clear()
    with monkeypatch.context() as patch:
        arm(patch, stage, workflow_id)
        stage.run_segment(workflow_id, dagster_run_id)
    for decider in _DECIDERS:
        decider.join()
    goes_on_at_once = MOMENTS[arm]
    assert (stage.run(workflow_id).status is RunStatus.SUCCEEDED) is goes_on_at_once
    stage.sensor_tick()
    segments = {workflow_id} if goes_on_at_once else {workflow_id, f"{workflow_id}/2"}
    assert set(stage.queue()) == segments
    if not goes_on_at_once:
        stage.run_segment(workflow_id, dagster_run_id)
    assert_it_went_through_once(stage, workflow_id, dagster_run_id)


def test_a_decision_after_the_sensors_first_query_is_acted_on_in_the_same_tick(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [stage.intent(f"goes on waiting {number}") for number in range(2)]
    workflow_id = stage.intent("decided while the sensor listens")
    for each in (*others, workflow_id):
        stage.run_segment(each, stage.request(each))
        assert stage.run(each).status is RunStatus.WAITING_INPUT
    look = outbox.decided

    def looking(connection: Connection, limit: int) -> list[DecidedRun]:
        found = look(connection, limit)
        assert found == [], "the sensor looks once a tick"
        stage.decide(workflow_id)
        return found

    monkeypatch.setattr(outbox, "decided", looking)
    approval_sensor._resume_until(stage.instance, time.monotonic() + 2)
    assert {segment for segment in stage.queue() if segment.endswith("/2")} == {f"{workflow_id}/2"}


def test_a_segment_enqueued_while_the_first_one_suspends_waits_for_its_lock_and_continues(
    stage: Stage, sandbox_worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow_id = stage.intent("two workers at the gate")
    dagster_run_id = stage.request(workflow_id)
    # Two threads stand for two worker processes: only the database keeps them apart.
    monkeypatch.setattr(segment_runner, "_one_at_a_time", threading.Semaphore(2))
    drive = run_driver.drive
    second = threading.Thread(target=stage.run_segment, args=(workflow_id, dagster_run_id))

    def driving(*facts: Any) -> None:
        drive(*facts)
        if second.ident is None:  # the first one: it has suspended, and holds its lock still
            stage.decide(workflow_id)
            stage.sensor_tick()
            second.start()
            until(
                lambda: (
                    stage.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == 1
                )
            )
            assert stage.run(workflow_id).status is RunStatus.WAITING_INPUT

    monkeypatch.setattr(run_driver, "drive", driving)
    stage.run_segment(workflow_id, dagster_run_id)
    second.join(timeout=60)
    assert not second.is_alive()
    assert_it_went_through_once(stage, workflow_id, dagster_run_id)


def assert_it_went_through_once(stage: Stage, workflow_id: str, dagster_run_id: str) -> None:
    assert stage.run(workflow_id).status is RunStatus.SUCCEEDED
    assert stage.dagster_status(dagster_run_id) == "SUCCESS"
    steps = stage.rows("SELECT step_id FROM app.run_steps ORDER BY started_at")
    assert [row["step_id"] for row in steps] == ["CompileST", "ApplyPatchST", "DecideST", "ExecuteST"]
    assert stage.value("SELECT sum(seen_count) FROM app.mock_receipts") == 1
    # The segment's own row is the queue's: here nobody dequeues it.
    laws = [law for law in stage.broken_laws() if not law.startswith(("840_", "850_"))]
    assert laws == []
