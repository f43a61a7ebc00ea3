"""A frozen worker is taken over, and commits nothing when it wakes, wherever it was frozen."""

import itertools
import signal
import time
from pathlib import Path

import psutil
import pytest
from psycopg import sql

from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.queueing import fan_out
from sisu_pipeline.recovery.run_recovery import WorkerMonitor
from tests.integration.engine.conftest import Engine
from tests.integration.engine.intents import Stage, until
from tests.integration.engine.workers import Nursery, Worker, has_ended, wait_for_workers

TAKEN_OVER_WITHIN_S = 5.0
# Beyond that, what this machine needs to notice it: the test looks now and then, and is not alone here.
_SLACK_S = 1.5

_INTENT_POINTS = [
    "segment.enter.after",
    "DecideST.work.after",
    "ExecuteST.commit.before",
    "events.flush.before",
    *(
        pytest.param(point, marks=pytest.mark.slow)
        for point in (
            "ApplyPatchST.commit.before",
            "fan_out.enqueue.before",
            "ExecuteST.work.after",
            "run.succeed.before",
        )
    ),
]
_TASK_POINTS = [
    "task.run.after",
    *(pytest.param(point, marks=pytest.mark.slow) for point in ("task.run.before", "task.commit.before")),
]


def frozen(group: Worker, order: Path) -> psutil.Process:
    """The process of the group that froze at the ordered point."""
    until(lambda: not order.exists(), f"nobody came to {order.name}")
    processes = [psutil.Process(pid) for pid in group.processes]
    found: list[psutil.Process] = []

    def any_frozen() -> bool:
        found[:] = [process for process in processes if process.status() == psutil.STATUS_STOPPED]
        return bool(found)

    until(any_frozen)
    return found[0]


def everything(engine: Engine) -> dict[str, str]:
    """A hash of every row that a worker may write, by table."""
    tables = [
        *(
            ("app", name)
            for name in ("runs", "run_steps", "sbx_runs", "sbx_attempts", "artifacts", "mock_receipts")
        ),
        *(("app", name) for name in ("human_gates", "plan_approvals", "patch_history")),
        *(("dbos", name) for name in ("workflow_status", "operation_outputs")),
        *(("dagster", name) for name in ("event_logs", "runs", "asset_keys")),
    ]
    hashes = {}
    with engine.database.connect() as connection:
        for table in tables:
            statement = sql.SQL(
                "SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) AS hash FROM {} t"
            )
            row = connection.execute(statement.format(sql.Identifier(*table))).fetchone()
            assert row is not None
            hashes[".".join(table)] = row["hash"]
    return hashes


def wakes_and_commits_nothing(engine: Engine, process: psutil.Process) -> None:
    before = everything(engine)
    process.send_signal(signal.SIGCONT)
    until(lambda: has_ended(process), "the process goes on")
    assert everything(engine) == before


def taken_over(stage: Stage, workflow_id: str, frozen_pid: int, began: float) -> None:
    holder = "SELECT executor_id FROM dbos.workflow_status WHERE workflow_uuid = %s AND status <> 'ENQUEUED'"
    until(
        lambda: (
            all(f"-{frozen_pid}-" not in row["executor_id"] for row in stage.rows(holder, workflow_id))
            and bool(stage.rows(holder, workflow_id))
        ),
        "nobody took it over",
    )
    assert time.monotonic() - began < TAKEN_OVER_WITHIN_S + _SLACK_S


@pytest.mark.parametrize("point", _INTENT_POINTS)
def test_a_frozen_intent_worker_is_taken_over_within_five_seconds_and_commits_nothing_when_it_wakes(
    engine: Engine, stage: Stage, nursery: Nursery, sandbox_worker: Worker, tmp_path: Path, point: str
) -> None:
    order = tmp_path / point
    workflow_id = stage.intent(f"frozen at {point}", tests=2)
    stage.decide(workflow_id)
    with nursery.worker("intentQ", processes=2, SISU_CRASH_AT=str(tmp_path)) as group:
        wait_for_workers(engine.database, "intentQ", count=2)
        order.write_text("SIGSTOP")
        dagster_run_id = stage.request(workflow_id)
        process = frozen(group, order)
        began = time.monotonic()
        taken_over(stage, workflow_id, process.pid, began)
        stage.wait_for(workflow_id, RunStatus.SUCCEEDED)
        until(lambda: stage.queue() == {workflow_id: "SUCCESS"})
        until(lambda: stage.dagster_status(dagster_run_id) == "SUCCESS")
        wakes_and_commits_nothing(engine, process)
    assert stage.value("SELECT max(seen_count) FROM app.mock_receipts") == 1
    assert stage.broken_laws() == []


@pytest.mark.parametrize("point", _TASK_POINTS)
def test_a_frozen_sandbox_worker_is_taken_over_and_commits_nothing_when_it_wakes(
    engine: Engine, stage: Stage, nursery: Nursery, tmp_path: Path, point: str
) -> None:
    version = f"v-{point}"
    order = tmp_path / point
    order.write_text("SIGSTOP")
    workflow_id = stage.decided(f"frozen at {point}", tests=["t"], command="run", version=version)
    fan_out.start(stage.dependencies, workflow_id)
    (key,) = stage.queue("sbxQ")
    with nursery.worker("sbxQ", processes=2, SISU_CRASH_AT=str(tmp_path), DBOS__APPVERSION=version) as group:
        process = frozen(group, order)
        taken_over(stage, key, process.pid, time.monotonic())
        until(lambda: stage.queue("sbxQ") == {key: "SUCCESS"})
        wakes_and_commits_nothing(engine, process)
    assert stage.value("SELECT max(seen_count) FROM app.mock_receipts") == 1
    assert stage.value("SELECT count(*) FROM app.sbx_runs") == 1


def test_a_jump_of_the_clock_fences_no_worker(stage: Stage, nursery: Nursery, engine: Engine) -> None:
    """Silence is what the observer hears, not a difference of two clocks."""
    workflow_id = stage.decided("clock", tests=["t"], command="sleep 2", version="v-clock")
    fan_out.start(stage.dependencies, workflow_id)
    with nursery.worker("sbxQ", DBOS__APPVERSION="v-clock"):
        until(lambda: stage.value("SELECT count(*) FROM app.mock_receipts") == 1)
        # Nothing of what the server or a worker says about the time is read: a first look gives nobody up.
        assert WorkerMonitor(stage.dependencies).recover() == []
        until(lambda: list(stage.queue("sbxQ").values()) == ["SUCCESS"])
    assert stage.value("SELECT max(request_count) FROM app.mock_receipts") == 1


def test_a_delay_of_the_observer_is_not_a_workers_silence(stage: Stage, nursery: Nursery) -> None:
    """On an overloaded machine, looks come late, and so does what they look for."""
    workflow_id = stage.decided("late looks", tests=["t"], command="sleep 30", version="v-late")
    fan_out.start(stage.dependencies, workflow_id)
    (key,) = stage.queue("sbxQ")
    minutes = itertools.count(0.0, 60.0)
    monitor = WorkerMonitor(stage.dependencies, lambda: next(minutes))
    with nursery.worker("sbxQ", DBOS__APPVERSION="v-late") as group:
        until(lambda: stage.value("SELECT count(*) FROM app.mock_receipts") == 1)
        (pid,) = group.processes
        psutil.Process(pid).suspend()
        looks = [monitor.recover() for _ in range(5)]
        psutil.Process(pid).resume()
    assert looks[:-1] == [[]] * 4
    assert [work.workflow_id for work in looks[-1]] == [key]
