"""`sisu doctor` names what an operator has stopped in Dagster, a second daemon, and a disk without room."""

import time

import psycopg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus
from dagster._daemon.types import DaemonHeartbeat

from sisu_pipeline.domain import worker_names
from sisu_pipeline.settings import settings
from sisu_pipeline.supervisor import run_diagnosis, stack_health
from tests.integration.engine.conftest import Engine
from tests.integration.engine.intents import Stage


def sensor_state(name: str, status: InstigatorStatus) -> InstigatorState:
    location = GrpcServerCodeLocationOrigin(host="localhost", socket="/x", location_name="sisu_pipeline")
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), name)
    return InstigatorState(origin, InstigatorType.SENSOR, status, None)


def test_a_sensor_that_was_stopped_in_dagster_is_named_for_the_stack_and_for_a_run_that_needs_it(
    stage: Stage,
) -> None:
    workflow_id = stage.intent("needs the sensor")
    stopped = sensor_state("intent_sensor", InstigatorStatus.STOPPED)
    stage.instance.add_instigator_state(stopped)
    try:
        with stage.dependencies.database.connect() as connection:
            check = stack_health.sensors(connection)
            facts = run_diagnosis.gather(connection, workflow_id, settings())
        assert (check.ok, check.detail) == (
            False,
            "stopped in Dagster: intent_sensor. Start them on its page Automation",
        )
        assert facts.stopped_sensors == ("intent_sensor",)
        stage.instance.update_instigator_state(stopped.with_status(InstigatorStatus.RUNNING))
        with stage.dependencies.database.connect() as connection:
            assert stack_health.sensors(connection).ok
    finally:
        stage.instance.delete_instigator_state(stopped.instigator_origin_id, stopped.selector_id)


def test_a_second_daemon_is_named(engine: Engine, stage: Stage) -> None:
    stage.instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), "SENSOR", "me", []))
    first, second = (worker_names.daemon_name(f"machine-{number}", 7) for number in (1, 2))
    url = engine.database.url

    def examined() -> stack_health.Check:
        # Postgres shows one transaction one list of sessions.
        with stage.dependencies.database.connect() as connection:
            return stack_health.daemon(connection)

    with psycopg.connect(url, application_name=first):
        assert examined().ok
        with psycopg.connect(url, application_name=second):
            check = examined()
    assert not check.ok
    assert (
        check.detail
        == "2 sensor daemons are running, stop all but one: sisu-daemon machine-1-7, sisu-daemon machine-2-7"
    )


def test_a_name_of_a_daemon_is_shown_as_it_is_by_postgres() -> None:
    assert worker_names.daemon_name("größe" * 40, 4_194_304) == f"sisu-daemon {('gre' * 40)[:30]}-4194304"


def test_a_clock_that_differs_from_the_databases_fails(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with engine.database.connect() as connection:
        assert stack_health.clock(connection).ok
        monkeypatch.setattr(stack_health, "CLOCK_SKEW_S", 0.0)
        assert not stack_health.clock(connection).ok
