"""A segment whose workers die is parked after a bounded number of deaths, and can be released."""

import os
import signal
import time
from functools import partial

import pytest

from sisu_pipeline.contracts.operation import OperationRequest
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.engine.run_reports import report_failed
from sisu_pipeline.queueing import segment_queue
from sisu_pipeline.recovery import run_recovery
from sisu_pipeline.recovery.lost_work import LostWork
from sisu_pipeline.recovery.parking import end_parked_dagster_runs
from sisu_pipeline.store import runs
from sisu_pipeline.store.queues import worker_deaths
from sisu_pipeline.workflow import commands
from tests.builders import a_run, an_intent
from tests.integration.engine.intents import Stage, until
from tests.integration.engine.workers import Nursery, wait_for_workers

VERSION = "v-poison"
_STATUS = "SELECT status FROM dbos.workflow_status WHERE workflow_uuid = %s"
_DEATHS = "SELECT count(DISTINCT executor_id) FROM app.worker_deaths WHERE subject = %s AND is_counted"


def an_intent_of(stage: Stage, goal: str, version: str) -> str:
    """A queued run that only workers of one version execute; returns its workflow id."""
    with stage.dependencies.database.connect() as connection:
        run = a_run(connection, an_intent(goal, inputs={"tests": ["a"], "testCommand": "run"}))
        connection.execute("UPDATE app.runs SET app_version = %s WHERE id = %s", [version, run.id])
    return run.workflow_id


def test_a_segment_that_kills_its_workers_is_parked_and_a_retry_releases_it(stage: Stage, nursery: Nursery) -> None:
    poison, neighbor = an_intent_of(stage, "poison", VERSION), an_intent_of(stage, "neighbor", "v1")
    with (
        nursery.worker("intentQ", DBOS__APPVERSION=VERSION, SISU_CRASH_AT="segment.enter.after"),
        nursery.worker("intentQ"),
    ):
        dagster_run_id = stage.request(poison)
        parked = stage.wait_for(poison, RunStatus.RETRIES_EXCEEDED)
        stage.request(neighbor)
        stage.wait_for(neighbor, RunStatus.WAITING_INPUT)
    assert parked.error is not None and parked.error.startswith("parked: 5 workers in a row ended")
    assert f"sisu run retry {parked.id}" in parked.error
    assert stage.value(_DEATHS, poison) == 5
    until(lambda: stage.value(_STATUS, poison) == "CANCELLED", "the segment stays on its queue")
    with stage.dependencies.database.connect() as connection:
        assert [each.id for each in worker_deaths.parked(connection, 10)] == [parked.id]

    end_parked_dagster_runs(stage.dependencies, partial(report_failed, stage.instance))
    assert stage.dagster_status(dagster_run_id) == "FAILURE"
    with stage.dependencies.database.connect() as connection:
        commands.retry(connection, poison, OperationRequest())
        assert worker_deaths.parked(connection, 10) == []
    with nursery.worker("intentQ", DBOS__APPVERSION=VERSION):
        stage.request(poison)
        stage.wait_for(poison, RunStatus.WAITING_INPUT)
    assert stage.broken_laws() == []


@pytest.mark.slow
def test_a_job_that_kills_its_workers_is_parked_and_its_dagster_run_fails(stage: Stage, nursery: Nursery) -> None:
    workflow_id = stage.intent("ended")
    dagster_run_id = stage.dagster_run(workflow_id)
    with stage.dependencies.database.connect() as connection:
        runs.move(connection, runs.lock(connection, workflow_id), RunStatus.CANCELED)
    segment = segment_queue.of_ended_intent(workflow_id, dagster_run_id, VERSION)
    with nursery.worker("intentQ", DBOS__APPVERSION=VERSION, SISU_CRASH_AT="segment.lock.after"):
        segment_queue.enqueue(stage.dependencies.database, segment)
        until(lambda: stage.value(_STATUS, segment.segment_workflow_id) == "CANCELLED", "the job is never parked")
    end_parked_dagster_runs(stage.dependencies, partial(report_failed, stage.instance))
    assert stage.dagster_status(dagster_run_id) == "FAILURE"


def test_a_worker_that_is_told_to_stop_does_not_count(stage: Stage, nursery: Nursery) -> None:
    workflow_id = an_intent_of(stage, "interrupted", VERSION)
    with stage.dependencies.database.connect() as other:
        # The segment waits for its row longer than a stopping worker waits for the segment.
        other.execute("SELECT FROM app.runs WHERE workflow_id = %s FOR UPDATE", [workflow_id])
        with nursery.worker("intentQ", DBOS__APPVERSION=VERSION) as group:
            wait_for_workers(stage.dependencies.database, "intentQ", VERSION)
            (worker,) = group.processes
            segment_queue.enqueue(
                stage.dependencies.database,
                segment_queue.of_ended_intent(workflow_id, stage.dagster_run(workflow_id), VERSION),
            )
            until(lambda: stage.holder(workflow_id) is not None, "no worker takes the segment")
            os.kill(worker, signal.SIGTERM)
            rows = "SELECT is_counted FROM app.worker_deaths"
            until(lambda: bool(stage.rows(rows)), "the worker leaves its segment without a word")
    assert stage.rows(rows) == [{"is_counted": False}]


def test_deaths_add_up_only_without_progress_between_them(stage: Stage) -> None:
    workflow_id = stage.intent("slow but alive")
    with stage.dependencies.database.connect() as connection:
        counts = [worker_deaths.record(connection, workflow_id, f"host-{n}-abc") for n in range(3)]
        counts.append(worker_deaths.record(connection, workflow_id, "host-2-abc"))
        runs.move(connection, runs.lock(connection, workflow_id), RunStatus.RUNNING)
        counts.append(worker_deaths.record(connection, f"{workflow_id}/2", "host-4-abc"))
    assert counts == [1, 2, 3, 3, 1]


def test_deaths_by_a_restart_of_postgres_do_not_add_up(stage: Stage) -> None:
    workflow_id = stage.intent("claimed before the restart")
    stage.request(workflow_id)
    claimed_at = "UPDATE dbos.workflow_status SET status = 'PENDING', updated_at = %s WHERE workflow_uuid = %s"
    with stage.dependencies.database.connect() as connection:
        connection.execute(claimed_at, [0, workflow_id])
        counts = [worker_deaths.record(connection, workflow_id, f"host-{n}-abc") for n in range(2)]
        connection.execute(claimed_at, [int(time.time() * 1000), workflow_id])
        counts += [worker_deaths.record(connection, workflow_id, f"host-{n}-def") for n in range(2)]
    assert counts == [0, 0, 1, 2]


def test_a_run_whose_segments_end_in_vain_is_parked_too(stage: Stage) -> None:
    """As after a death, nothing continues such a run except recovery, which must not repeat it for ever."""
    workflow_id = stage.intent("in vain")
    dagster_run_id = stage.request(workflow_id)
    now = 0.0
    search = LostWork(stage.dependencies, lambda: now)
    for _ in range(stage.dependencies.max_worker_deaths):
        assert stage.run(workflow_id).status is RunStatus.QUEUED
        with stage.dependencies.database.connect() as connection:
            connection.execute("UPDATE dbos.workflow_status SET status = 'SUCCESS' WHERE queue_name = 'intentQ'")
            connection.execute("SET LOCAL session_replication_role = replica")
            connection.execute("UPDATE app.runs SET updated_at = updated_at - interval '1 minute'")
        search.resume()
        now += 10
        search.resume()
    parked = stage.run(workflow_id)
    assert (parked.status, parked.dagster_run_id) == (RunStatus.RETRIES_EXCEEDED, dagster_run_id)
    assert parked.error is not None and parked.error.startswith("parked: ")
    assert run_recovery.cancel_removed(stage.dependencies) == []
