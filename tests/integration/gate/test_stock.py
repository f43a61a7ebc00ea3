"""Both gates in the portable profile: Dagster's own launcher cannot suspend, so each gate ends a run of its own."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from resources import migrations
from resources.database import DATABASE, Database
from sensors.approval_sensor import approval_sensor
from sisu_pipeline import oracle
from sisu_pipeline.contracts.gate import AnswerRequest, PlanApprovalRequest
from sisu_pipeline.defs.asset_keys import INTENT_JOB
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.settings import load_settings, settings
from sisu_pipeline.store import answers, runs
from sisu_pipeline.store.runs import Run
from sisu_pipeline.supervisor.stack_setup import make_engine_schemas, stack_variables
from sisu_pipeline.worker import segment_runner
from sisu_pipeline.workflow import commands
from sisu_pipeline.workflow.dependencies import dependencies
from tests.builders import a_run, an_intent
from tests.integration.gate.test_ask import ASK

_REMEMBERED = (settings, dependencies, segment_runner.instance)


@pytest.fixture
def instance(database: Database) -> Iterator[dg.DagsterInstance]:
    """This process as one of a deployment of the portable profile, on a database of its own."""
    own = Database(database.url.replace(f"/{DATABASE}?", "/stock?", 1))
    migrations.create_database(own)
    migrations.migrate(own)
    make_engine_schemas(own)
    with (
        tempfile.TemporaryDirectory(prefix="sisu-stock-", ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        (Path(folder) / "dagster").mkdir()
        given = load_settings({"SISU_HOME": folder, "SISU_PROFILE": "stock"})
        for name, value in stack_variables(given, own).items():
            patch.setenv(name, value)
        patch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")
        _forget()
        with dg.DagsterInstance.get() as running:
            yield running
        _forget()


@pytest.mark.slow
def test_the_answer_and_the_approval_each_request_a_dagster_run_that_continues_behind_its_gate(
    instance: dg.DagsterInstance,
) -> None:
    assert settings().sisu_profile == "stock"
    with dependencies().database.connect() as connection:
        run = a_run(connection, an_intent(constraints=ASK, inputs={"tests": ["t1", "t2"]}))
    instance.add_dynamic_partitions("intents", [run.workflow_id])
    first = execute(instance, dg.RunRequest(partition_key=run.workflow_id))
    assert steps(first) == {"CompileST"}
    assert (now(run).status, now(run).next_action) == (RunStatus.WAITING_INPUT, "ANSWER")
    assert requested(instance) == []

    with dependencies().database.connect() as connection:
        (gate,) = connection.execute("SELECT gate_key FROM app.human_gates").fetchall()
        answer = AnswerRequest(answered_by="ann", answer={"environment": "staging"})
        commands.answer(connection, run.id, gate["gate_key"], answer)
    (request,) = requested(instance)
    second = execute(instance, request)
    assert steps(second) == {"ApplyPatchST"}
    assert (now(run).status, now(run).next_action) == (RunStatus.WAITING_INPUT, "APPROVE_PLAN")
    assert requested(instance) == []

    with dependencies().database.connect() as connection:
        commands.decide(connection, run.id, PlanApprovalRequest(approved_by="ann"))
    (request,) = requested(instance)
    third = execute(instance, request)
    assert {"DecideST", "ExecuteST.collect"} <= steps(third)
    assert now(run).status is RunStatus.SUCCEEDED
    assert requested(instance) == []
    with dependencies().database.connect() as connection:
        kept = answers.asked(connection, run.id).answered
        receipts = connection.execute("SELECT seen_count FROM app.mock_receipts").fetchall()
    assert kept is not None
    assert kept.answer == {"environment": "staging"}
    assert receipts == [{"seen_count": 1}] * 2
    with dependencies().database.connect() as connection:
        assert [verdict.law for verdict in oracle.judge(connection) if not verdict.holds] == []


def requested(instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    """What one tick of approval_sensor asks for. It does not wait: whatever was decided is there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sensors.approval_sensor.LISTEN_SECONDS", 0.05)
        result = approval_sensor(dg.build_sensor_context(instance=instance))
    if isinstance(result, dg.SkipReason):
        return []
    assert isinstance(result, dg.SensorResult)
    return list(result.run_requests or [])


def execute(instance: dg.DagsterInstance, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
    """The requested run, in this process."""
    job = segment_runner.repository().get_job(INTENT_JOB)
    return job.execute_in_process(
        instance=instance,
        partition_key=request.partition_key,
        asset_selection=None if request.asset_selection is None else list(request.asset_selection),
        tags=dict(request.tags),
    )


def steps(result: dg.ExecuteInProcessResult) -> set[str]:
    """The steps that left something."""
    return {
        str(event.step_key)
        for event in result.all_events
        if event.event_type is dg.DagsterEventType.STEP_OUTPUT and event.step_key is not None
    }


def now(run: Run) -> Run:
    """The run's row."""
    with dependencies().database.connect() as connection:
        return runs.get(connection, run.id)


def _forget() -> None:
    for remembered in _REMEMBERED:
        remembered.cache_clear()
