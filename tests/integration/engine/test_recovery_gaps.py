"""Gaps that chaos tests found: interrupted launches, cleanups and ends of Dagster runs."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import LiteralString

import dagster as dg
import psutil
import psycopg
import psycopg2
import pytest
from dagster import DagsterEvent, SubmitRunContext
from dagster._core.execution.plan.objects import StepFailureData
from dagster._core.launcher.base import LaunchRunContext
from dagster._core.storage.tags import PARTITION_NAME_TAG, RUN_KEY_TAG
from dagster_shared.error import SerializableErrorInfo
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from resources import connection_fence
from sisu_pipeline.contracts.operation import OperationRequest
from sisu_pipeline.defs.asset_keys import INTENT_JOB
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.engine.event_batching import BufferedEventLogStorage
from sisu_pipeline.queueing import segment_queue
from sisu_pipeline.recovery import cancel_cleanup
from sisu_pipeline.worker import segment_runner
from sisu_pipeline.workflow import commands, task_planning
from tests.integration.engine.conftest import Engine
from tests.integration.engine.intents import Stage, until
from tests.integration.engine.lost_work import Search
from tests.integration.engine.workers import Nursery, Worker, has_ended

_WAITS = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid <> pg_backend_pid()"
_SLEEPS = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'"


def requested(stage: Stage, workflow_id: str) -> dg.DagsterRun:
    """A Dagster run as the daemon makes it for a tick's request: its run key names the try."""
    stage.instance.add_dynamic_partitions("intents", [workflow_id])
    job = segment_runner.repository().get_job(INTENT_JOB)
    tags = {PARTITION_NAME_TAG: workflow_id, RUN_KEY_TAG: f"{workflow_id}#{stage.run(workflow_id).retry_count}"}
    return stage.instance.create_run_for_job(job, tags=tags)


def failed(stage: Stage, workflow_id: str) -> str:
    """Such a run that failed outside of any step; returns its id."""
    run = requested(stage, workflow_id)
    stage.instance.report_run_failed(run)
    return run.run_id


def submit(stage: Stage, run: dg.DagsterRun) -> dg.DagsterRun:
    """What the daemon does with the run it has made."""
    context = SubmitRunContext(run, workspace=None)  # type: ignore[arg-type]
    return stage.instance.run_coordinator.submit_run(context)


def test_a_launch_whose_connection_breaks_is_retried_and_the_run_does_not_fail(stage: Stage) -> None:
    workflow_id = stage.intent("cut off")
    run = requested(stage, workflow_id)
    with ThreadPoolExecutor(1) as pool:
        with stage.dependencies.database.connect() as other:
            other.execute("SELECT FROM app.runs WHERE workflow_id = %s FOR UPDATE", [workflow_id])
            launched = pool.submit(stage.launch, run.run_id)
            until(lambda: bool(stage.rows(_WAITS)), "the launcher never came to the run's row")
            assert stage.value(f"SELECT pg_terminate_backend(pid) FROM ({_WAITS}) AS waiting")
        launched.result(30)
    assert stage.queue() == {workflow_id: "ENQUEUED"}
    assert stage.run(workflow_id).dagster_run_id == run.run_id
    assert stage.dagster_status(run.run_id) != "FAILURE"


@pytest.mark.parametrize(
    "lock",
    [
        "LOCK TABLE dagster.event_logs IN EXCLUSIVE MODE",
        "LOCK TABLE dagster.runs IN EXCLUSIVE MODE",
        "LOCK TABLE dagster.runs IN ACCESS EXCLUSIVE MODE",
    ],
)
def test_a_submission_whose_connection_breaks_before_the_launch_is_retried(
    stage: Stage, lock: LiteralString
) -> None:
    """Dagster says first that the run starts, and takes a statement lost there for the end of the run."""
    workflow_id = stage.intent("cut off before its launch")
    run = requested(stage, workflow_id)
    with ThreadPoolExecutor(1) as pool:
        with stage.dependencies.database.connect() as other:
            other.execute(lock)
            submitted = pool.submit(submit, stage, run)
            until(lambda: bool(stage.rows(_WAITS)), "the submission never came to the table")
            assert stage.value(f"SELECT pg_terminate_backend(pid) FROM ({_WAITS}) AS waiting")
        assert submitted.result(30).status is dg.DagsterRunStatus.STARTING
    assert stage.queue() == {workflow_id: "ENQUEUED"}
    assert stage.run(workflow_id).dagster_run_id == run.run_id


def test_a_submission_that_breaks_after_it_reported_the_start_continues_from_there(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow_id = stage.intent("cut off after it has started")
    run = requested(stage, workflow_id)
    launched: list[str] = []

    def cut_off(_instance: dg.DagsterInstance, dagster_run_id: str, _workspace: object) -> None:
        launched.append(dagster_run_id)
        stage.instance.report_dagster_event(DagsterEvent("PIPELINE_STARTING", run.job_name), dagster_run_id)
        raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr(dg.DagsterInstance, "launch_run", cut_off)
    assert submit(stage, run).status is dg.DagsterRunStatus.STARTING
    assert launched == [run.run_id], "a run that may have started since is not launched"
    assert stage.queue() == {workflow_id: "ENQUEUED"}


def test_a_submission_raises_its_launchers_error_and_launches_nothing_twice(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched: list[str] = []

    def refuse(_self: object, context: LaunchRunContext) -> None:
        launched.append(context.dagster_run.run_id)
        raise psycopg.OperationalError("away for longer than anybody waits")

    run = requested(stage, stage.intent("its launcher gave up"))
    monkeypatch.setattr(type(stage.instance.run_launcher), "launch_run", refuse)
    with pytest.raises(psycopg.OperationalError, match="longer than anybody waits"):
        submit(stage, run)
    assert launched == [run.run_id]
    assert stage.dagster_status(run.run_id) == "FAILURE"


def test_a_worker_ends_when_a_statement_of_dagsters_storage_breaks(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken for an error it would fail the step around it, and the run: see `fencing.watch`."""
    stopped: list[str] = []
    monkeypatch.setattr(connection_fence, "_stop", lambda: stopped.append("stopped"))
    storage = stage.instance.event_log_storage
    assert isinstance(storage, BufferedEventLogStorage)

    def sleep() -> None:
        with storage._engine.connect() as connection:
            connection.execute(text("SELECT pg_sleep(60)"))

    with ThreadPoolExecutor(1) as pool:
        asleep = pool.submit(sleep)
        until(lambda: bool(stage.rows(_SLEEPS)), "nobody sleeps")
        assert stopped == []
        assert stage.value(f"SELECT pg_terminate_backend(pid) FROM ({_SLEEPS}) AS sleeping")
        with pytest.raises(OperationalError):
            asleep.result(30)
    assert stopped == ["stopped"]


def test_a_fan_out_whose_connection_breaks_is_enqueued_again_and_the_run_succeeds(
    engine: Engine, stage: Stage, nursery: Nursery, sandbox_worker: Worker
) -> None:
    """DBOS repeats what it says when a connection breaks, but not its batch insert."""
    workflow_id = stage.decided("cut off while it fans out", tests=["t0", "t1"], command="run")
    task = task_planning.plan_tasks(stage.dependencies, workflow_id)[1]
    with nursery.worker("intentQ"):
        with engine.database.connect() as other:
            other.execute("INSERT INTO dbos.workflow_status (workflow_uuid) VALUES (%s)", [task.key])
            dagster_run_id = stage.request(workflow_id)
            until(lambda: bool(stage.rows(_WAITS)), "nobody came to the task's row")
            assert stage.value(f"SELECT pg_terminate_backend(pid) FROM ({_WAITS}) AS waiting")
            other.rollback()
        stage.wait_for(workflow_id, RunStatus.SUCCEEDED)
        until(lambda: stage.dagster_status(dagster_run_id) == "SUCCESS")
    assert stage.value("SELECT max(seen_count) FROM app.mock_receipts") == 1
    assert stage.broken_laws() == []


def test_a_segment_whose_session_breaks_while_it_waits_for_its_lock_is_taken_over(
    stage: Stage, nursery: Nursery
) -> None:
    """Nothing of its run has begun: taken for executed, it would wait for ever."""
    workflow_id = stage.intent("cut off at its lock")
    with nursery.worker("intentQ"):
        with segment_runner.holding(stage.dependencies.database, workflow_id):
            stage.request(workflow_id)
            until(stage.waits_for_an_intents_lock, "no segment came to the lock")
            assert stage.value(f"SELECT pg_terminate_backend(pid) FROM ({_WAITS}) AS waiting")
        stage.wait_for(workflow_id, RunStatus.WAITING_INPUT)
        until(lambda: stage.queue() == {workflow_id: "SUCCESS"}, "the segment does not end")
    assert stage.broken_laws() == []


def test_a_worker_ends_when_its_session_breaks(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[str] = []
    monkeypatch.setattr(connection_fence, "_stop", lambda: stopped.append("stopped"))
    database = stage.dependencies.database
    with pytest.raises(psycopg.OperationalError), database.connect(autocommit=True) as session:
        session.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert stopped == ["stopped"]


def test_a_worker_ends_when_an_event_cannot_be_written(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver itself, too: it raises as it leaves a transaction, past the engine."""
    stopped: list[str] = []
    storage = stage.instance.event_log_storage
    assert isinstance(storage, BufferedEventLogStorage)

    def cut_off() -> None:
        raise psycopg2.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(connection_fence, "_stop", lambda: stopped.append("stopped"))
    monkeypatch.setattr(storage, "_write", cut_off)
    with pytest.raises(psycopg2.OperationalError), storage.buffered():
        pass
    assert set(stopped) == {"stopped"}


def test_a_dagster_run_that_missed_the_end_of_its_intent_is_ended(stage: Stage, nursery: Nursery) -> None:
    workflow_id = stage.decided("its segment broke off at its very end", tests=["t0"], command="run")
    with nursery.worker("intentQ"), nursery.worker("sbxQ"):
        dagster_run_id = stage.request(workflow_id)
        stage.wait_for(workflow_id, RunStatus.SUCCEEDED)
        until(lambda: set(stage.queue().values()) == {"SUCCESS"}, "the segment does not end")
        with stage.dependencies.database.connect() as connection:
            connection.execute("UPDATE dagster.runs SET status = 'STARTED' WHERE run_id = %s", [dagster_run_id])
        search = Search(stage)
        assert search.resume_later() == [], "it may only be slow"
        with stage.dependencies.database.connect() as connection:
            connection.execute("SET LOCAL session_replication_role = replica")  # or a trigger sets the time again
            connection.execute("UPDATE app.runs SET updated_at = updated_at - interval '1 minute'")
            connection.execute("UPDATE dbos.workflow_status SET status = 'PENDING' WHERE queue_name = 'intentQ'")
        assert search.resume_later() == [], "its segment is at it"
        with stage.dependencies.database.connect() as connection:
            connection.execute("UPDATE dbos.workflow_status SET status = 'ERROR' WHERE queue_name = 'intentQ'")
        assert search.resume_later() == [workflow_id]
        assert search.resume_later() == []
        until(lambda: stage.dagster_status(dagster_run_id) == "SUCCESS", "it does not end")
    assert stage.value("SELECT max(seen_count) FROM app.mock_receipts") == 1


def test_a_worker_ends_when_a_statement_gets_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[str] = []
    monkeypatch.setattr(connection_fence, "_stop", lambda: stopped.append("stopped"))
    nowhere = create_engine("postgresql+psycopg://nobody@/nothing?host=/nowhere")
    connection_fence.watch(nowhere)
    with pytest.raises(OperationalError):
        nowhere.connect()
    assert stopped == ["stopped"]


def test_a_run_whose_dagster_run_failed_around_its_steps_ends_and_can_be_retried(stage: Stage) -> None:
    workflow_id, healthy = stage.intent("orphan"), stage.intent("healthy")
    stage.launch(requested(stage, healthy).run_id)
    dagster_run_id = failed(stage, workflow_id)
    search = Search(stage)
    assert search.end_orphans() == [], "its own failure may be on its way"
    assert search.end_orphans_later() == [workflow_id]
    run = stage.run(workflow_id)
    assert (run.status, run.next_action) == (RunStatus.RETRIES_EXCEEDED, "REPAIR")
    assert dagster_run_id in str(run.error)
    assert stage.run(healthy).status is RunStatus.QUEUED
    assert search.end_orphans_later() == []
    with stage.dependencies.database.connect() as connection:
        commands.retry(connection, workflow_id, OperationRequest())
    assert search.end_orphans_later() == [], "the failure belongs to the try before"


@pytest.mark.parametrize("hours", [3, -3])
def test_the_clock_of_the_machine_that_wrote_a_dagster_run_does_not_matter(stage: Stage, hours: int) -> None:
    workflow_id = stage.intent(f"a clock {hours} hours off")
    dagster_run_id = failed(stage, workflow_id)
    with stage.dependencies.database.connect() as connection:
        connection.execute(
            "UPDATE dagster.runs SET update_timestamp = update_timestamp + make_interval(hours => %s),"
            " end_time = end_time + %s WHERE run_id = %s",
            [hours, 3600 * hours, dagster_run_id],
        )
    search = Search(stage)
    assert search.end_orphans() == [], "its own failure may be on its way"
    assert search.end_orphans_later() == [workflow_id]
    assert stage.run(workflow_id).status is RunStatus.RETRIES_EXCEEDED


def test_the_error_of_an_orphaned_run_names_the_failure_of_its_launch(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("no such queue") from KeyError("intentQ")

    workflow_id = stage.intent("never launched")
    run = requested(stage, workflow_id)
    monkeypatch.setattr(segment_queue, "enqueue", refuse)
    with pytest.raises(ValueError, match="no such queue"):
        stage.instance.launch_run(run.run_id, None)  # type: ignore[arg-type]
    assert Search(stage).end_orphans_later() == [workflow_id]
    assert str(stage.run(workflow_id).error).endswith("failed around the steps: KeyError: 'intentQ'")


def test_the_error_of_an_orphaned_run_names_its_failed_step_and_the_cause(stage: Stage) -> None:
    workflow_id = stage.intent("failed around a step")
    run = requested(stage, workflow_id)
    error = SerializableErrorInfo("no metadata\n", [], "LookupError")
    wrapped = SerializableErrorInfo("the op failed\n", [], "DagsterExecutionStepExecutionError", error)
    data = StepFailureData(wrapped, None)  # type: ignore[no-untyped-call]
    event = DagsterEvent("STEP_FAILURE", run.job_name, step_key="DecideST", event_specific_data=data)
    stage.instance.report_dagster_event(event, run.run_id)
    stage.instance.report_run_failed(run)
    assert Search(stage).end_orphans_later() == [workflow_id]
    assert str(stage.run(workflow_id).error).endswith("failed around the steps: DecideST: no metadata")


@pytest.mark.parametrize("reached", ["NOT_STARTED", "STARTING"])
def test_a_dagster_run_whose_intent_was_canceled_while_it_was_launched_ends_too(
    stage: Stage, nursery: Nursery, reached: str
) -> None:
    workflow_id = stage.intent("canceled before its launch")
    run = requested(stage, workflow_id)
    with stage.dependencies.database.connect() as connection:
        # The daemon dies before or as it launches; the cancellation knows of no Dagster run.
        connection.execute("UPDATE dagster.runs SET status = %s WHERE run_id = %s", [reached, run.run_id])
        commands.cancel(connection, workflow_id, OperationRequest())
    assert len(cancel_cleanup.clean_up_canceled(stage.dependencies, lambda run, reason: None)) == 1
    search = Search(stage)
    assert search.resume() == [], "it may only be slow"
    assert search.resume_later() == [workflow_id]
    assert search.resume_later() == []
    with nursery.worker("intentQ"):
        until(lambda: stage.dagster_status(run.run_id) == "CANCELED", "it does not end")
    assert stage.run(workflow_id).status is RunStatus.CANCELED


def test_a_canceled_run_is_not_cleaned_up_while_a_segment_without_its_lock_still_works(stage: Stage) -> None:
    workflow_id = stage.intent("lock lost")
    stage.request(workflow_id)
    with stage.dependencies.database.connect() as connection:
        connection.execute("UPDATE dbos.workflow_status SET status = 'PENDING', executor_id = 'host-1-abcdef'")
        commands.cancel(connection, workflow_id, OperationRequest())
    assert stage.holder(workflow_id) is None
    assert cancel_cleanup.clean_up_canceled(stage.dependencies, lambda run, reason: None) == []
    with stage.dependencies.database.connect() as connection:
        connection.execute("UPDATE dbos.workflow_status SET status = 'SUCCESS'")
    assert len(cancel_cleanup.clean_up_canceled(stage.dependencies, lambda run, reason: None)) == 1


def test_a_worker_whose_group_dies_during_its_start_ends_too(nursery: Nursery) -> None:
    """It would take work for ever, of a version nobody runs any more, and nobody would know it."""
    with nursery.worker("intentQ", DBOS__APPVERSION="v-left-alone") as group:
        until(lambda: bool(group.processes), "the group forks nobody")
        left = psutil.Process(group.processes[0])
        os.kill(group.pid, signal.SIGKILL)
        until(lambda: has_ended(left), "it lives on alone")
