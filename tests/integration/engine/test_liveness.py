"""Work of a killed worker is finished by another one, nothing is done twice, and living workers keep their work."""

import pytest
from dagster import DagsterEventType

from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.queueing import fan_out
from sisu_pipeline.recovery.run_recovery import WorkerMonitor, requeue_work
from sisu_pipeline.store.queues import worker_sessions
from tests.integration.engine import trials
from tests.integration.engine.conftest import Engine
from tests.integration.engine.intents import Stage, until
from tests.integration.engine.workers import Nursery, Worker, wait_for_workers

_HELD = (
    "SELECT count(*) FROM dbos.workflow_status"
    " WHERE workflow_uuid = %s AND status = 'PENDING' AND executor_id LIKE %s"
)


def given_back(stage: Stage, workflow_id: str, pid: int) -> None:
    """Wait until recovery, here or in a worker that lives, has given back what a killed process held."""

    def is_given_back() -> bool:
        WorkerMonitor(stage.dependencies).recover()
        return bool(stage.value(_HELD, workflow_id, f"%-{pid}-%") == 0)

    until(is_given_back, "nothing was given back")


def test_a_killed_sandbox_workers_task_is_adopted_by_another_and_executed_once(
    stage: Stage, nursery: Nursery
) -> None:
    workflow_id = stage.decided("killed task", tests=["t"], command="sleep 1.5", version="v-kill")
    fan_out.start(stage.dependencies, workflow_id)
    (key,) = stage.queue("sbxQ")
    with nursery.worker("sbxQ", DBOS__APPVERSION="v-kill") as first:
        until(lambda: stage.value("SELECT count(*) FROM app.mock_receipts") == 1)
        assert WorkerMonitor(stage.dependencies).recover() == []
        (killed,) = first.processes
        first.kill()
        given_back(stage, key, killed)
    assert stage.queue("sbxQ") == {key: "ENQUEUED"}
    assert stage.value("SELECT count(*) FROM app.sbx_runs") == 0
    with nursery.worker("sbxQ", DBOS__APPVERSION="v-kill"):
        until(lambda: stage.queue("sbxQ") == {key: "SUCCESS"})
    assert stage.rows("SELECT seen_count, request_count FROM app.mock_receipts") == [
        {"seen_count": 1, "request_count": 2}
    ]
    assert stage.rows("SELECT task_key, err_code FROM app.sbx_runs") == [{"task_key": key, "err_code": "NONE"}]


def test_a_killed_intent_workers_segment_is_taken_over_and_finished_steps_are_not_repeated(
    engine: Engine, stage: Stage, nursery: Nursery, sandbox_worker: Worker
) -> None:
    workflow_id = stage.intent("killed segment", tests=3, command="sleep 1.5")
    stage.decide(workflow_id)
    with nursery.worker("intentQ") as group:
        dagster_run_id = stage.request(workflow_id)
        until(lambda: stage.value("SELECT count(*) FROM app.mock_receipts") == 3)
        # A worker takes the events of its last tenth of a second with it: those of DecideST are to be there.
        until(lambda: "DecideST" in trials.outcome(stage.instance, dagster_run_id).steps)
        before = stage.rows("SELECT * FROM app.run_steps ORDER BY started_at")
        wait_for_workers(engine.database, "intentQ")
        (killed,) = group.processes
        group.kill_processes()
        given_back(stage, workflow_id, killed)
        stage.wait_for(workflow_id, RunStatus.SUCCEEDED)
        until(lambda: stage.queue() == {workflow_id: "SUCCESS"})
        assert killed not in group.processes
    after = stage.rows("SELECT * FROM app.run_steps ORDER BY started_at")
    assert [row["step_id"] for row in before] == ["CompileST", "ApplyPatchST", "DecideST"]
    assert after[:3] == before
    assert stage.dagster_status(dagster_run_id) == "SUCCESS"
    assert "Taken over from a worker that was lost." in stage.messages(dagster_run_id)
    started = [
        event.step_key
        for event in trials.events(stage.instance, dagster_run_id)
        if event.event_type is DagsterEventType.STEP_START
    ]
    for step in ("CompileST", "ApplyPatchST", "DecideST"):
        assert started.count(step) == 1
    assert stage.value("SELECT max(seen_count) FROM app.mock_receipts") == 1
    assert stage.broken_laws() == []


def test_concurrent_recoveries_requeue_the_work_of_a_dead_worker_once(stage: Stage, nursery: Nursery) -> None:
    workflow_id = stage.decided("twice", tests=["t"], command="sleep 30", version="v-twice")
    fan_out.start(stage.dependencies, workflow_id)
    (key,) = stage.queue("sbxQ")
    with nursery.worker("sbxQ", DBOS__APPVERSION="v-twice") as worker:
        until(lambda: stage.value("SELECT count(*) FROM app.mock_receipts") == 1)
        (killed,) = worker.processes
        worker.kill()
        given_back(stage, key, killed)
    assert stage.queue("sbxQ") == {key: "ENQUEUED"}
    assert WorkerMonitor(stage.dependencies).recover() == []


def test_an_observer_does_not_end_another_one_that_is_fencing_the_same_worker(stage: Stage) -> None:
    with stage.dependencies.database.connect(autocommit=True) as fellow:
        assert worker_sessions.try_lock(fellow, "gone-1-0123abcd").held
        assert requeue_work(stage.dependencies, "gone-1-0123abcd") == []
        assert fellow.execute("SELECT 1 AS one").fetchone() == {"one": 1}


def test_an_observer_that_freezes_while_it_fences_a_worker_is_ended_by_another(stage: Stage) -> None:
    with stage.dependencies.database.connect(autocommit=True) as fellow:
        assert worker_sessions.try_lock(fellow, "gone-2-0123abcd").held

        def is_ended() -> bool:
            requeue_work(stage.dependencies, "gone-2-0123abcd")
            alive = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
            return bool(stage.value(alive, fellow.info.backend_pid) == 0)

        until(is_ended, "a dead worker's work waits for somebody who is frozen")


def test_a_worker_that_loses_its_session_stops_at_once(engine: Engine, stage: Stage, nursery: Nursery) -> None:
    """Every session that holds a worker's lock is cut, other tests' workers' too: their groups start new ones."""
    with nursery.worker("sbxQ", DBOS__APPVERSION="v-session") as group:
        wait_for_workers(engine.database, "sbxQ", "v-session")
        (process,) = group.processes
        stage.rows("SELECT pg_terminate_backend(l.pid) FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted")
        until(lambda: process not in group.processes, "the worker goes on without its lock")


@pytest.mark.parametrize("queue", ["intentQ", "sbxQ"])
def test_an_idle_worker_stops_within_its_deadline_and_leaves_nothing(
    engine: Engine, stage: Stage, nursery: Nursery, queue: str
) -> None:
    with nursery.worker(queue, processes=2, DBOS__APPVERSION=f"v-stop-{queue}") as group:
        wait_for_workers(engine.database, queue, f"v-stop-{queue}", 2)
        group.stop()
        until(lambda: not group.is_running, "the group goes on")
    wait_for_workers(engine.database, queue, f"v-stop-{queue}", 0)


def test_a_worker_stopped_during_its_start_stops(nursery: Nursery) -> None:
    for _ in range(5):
        with nursery.worker("intentQ", processes=2, DBOS__APPVERSION="v-early") as group:
            until(lambda: bool(group.processes) or not group.is_running)
            group.stop()
            until(lambda: not group.is_running, "the group goes on")
