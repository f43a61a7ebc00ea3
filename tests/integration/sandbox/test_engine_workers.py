"""A sandbox worker killed with tasks in flight: every task has one result, and evidence of how."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from resources import migrations
from resources.database import DATABASE, Database
from sisu_pipeline.proof.bench import sandbox_leftovers
from sisu_pipeline.queueing import fan_out
from sisu_pipeline.settings import settings
from tests.integration.engine.conftest import Engine, deployed
from tests.integration.engine.intents import Stage, until
from tests.integration.engine.workers import Nursery
from tests.integration.sandbox.conftest import processes_with
from tests.support.e2b.client import E2bServer
from tests.support.e2b.server import API_KEY

IN_FLIGHT = 50
SECONDS = "8.7721"
"""How long a local task sleeps: nobody else on the machine does so long."""


@pytest.fixture(scope="module")
def engine(database: Database) -> Iterator[Engine]:
    """A deployment whose tasks run in sandboxes, with a database of its own."""
    own = Database(database.url.replace(f"/{DATABASE}?", "/sandboxes?", 1))
    migrations.create_database(own)
    migrations.migrate(own)
    with deployed(own, SBX_MODE="live") as running:
        yield running


@pytest.fixture(scope="module")
def nursery(engine: Engine) -> Iterator[Nursery]:
    with Nursery(engine.environment) as running:
        yield running


@pytest.fixture
def stage(engine: Engine) -> Stage:
    return Stage(engine.dependencies, engine.instance)


def evidence(stage: Stage, workflow_id: str) -> list[dict[str, Any]]:
    """What the run's results say about their sandboxes; every task has one result, and it is good."""
    rows = stage.rows(
        "SELECT t.task_key, t.err_code, t.response #> '{raw,sandbox}' AS sandbox FROM app.sbx_runs t "
        "JOIN app.runs r ON r.id = t.run_id WHERE r.workflow_id = %s",
        workflow_id,
    )
    assert len({row["task_key"] for row in rows}) == len(rows) == IN_FLIGHT
    assert {row["err_code"] for row in rows} == {"NONE"}
    return [row["sandbox"] for row in rows]


def planned_for(stage: Stage, provider: str) -> Stage:
    """The same stage, whose plans name this sandbox provider."""
    defaults = replace(stage.dependencies.task_defaults, provider=provider)
    return Stage(replace(stage.dependencies, task_defaults=defaults), stage.instance)


def in_flight(stage: Stage, version: str, command: str) -> str:
    """A decided run whose fifty tasks are on their queue; returns its workflow id."""
    tests = [f"t{number}" for number in range(IN_FLIGHT)]
    workflow_id = stage.decided(version, tests=tests, command=command, version=version)
    fan_out.start(stage.dependencies, workflow_id)
    return workflow_id


def all_done(stage: Stage, workflow_id: str) -> bool:
    done = "SELECT count(*) FROM dbos.workflow_status WHERE parent_workflow_id = %s AND status = 'SUCCESS'"
    return bool(stage.value(done, workflow_id) == IN_FLIGHT)


@pytest.mark.slow
def test_e2b_fifty_tasks_of_a_killed_worker_are_adopted_and_none_is_started_again(
    stage: Stage, nursery: Nursery, e2b_server: E2bServer, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    release = tmp_path / "release"
    command = f"sh -c 'echo $0 >> {ledger}; until [ -e {release} ]; do sleep 0.2; done; echo done'"
    workflow_id = in_flight(planned_for(stage, "e2b"), "v-e2b", command)
    knobs: dict[str, Any] = {
        "SBX_PROVIDER": "e2b",
        "E2B_API_KEY": API_KEY,
        "E2B_API_URL": e2b_server.url,
        "E2B_SANDBOX_URL": e2b_server.url,
        "E2B_CONCURRENCY": "100",
        "E2B_CREATES_PER_SECOND": "1000",
    }
    with nursery.worker("sbxQ", DBOS__APPVERSION="v-e2b", **knobs) as group:
        until(lambda: ledger.exists() and len(ledger.read_text().split()) == IN_FLIGHT, "not all began")
        (killed,) = group.processes
        group.kill_processes()
        until(lambda: e2b_server.state()["counts"].get("connects", 0) == IN_FLIGHT, "not all were adopted")
        assert killed not in group.processes
        release.touch()
        until(lambda: all_done(stage, workflow_id), "not all ended")
        until(lambda: e2b_server.state()["alive"] == 0, "sandboxes were left")
    sandboxes = evidence(stage, workflow_id)
    assert {sandbox["how"] for sandbox in sandboxes} == {"adopted"}
    assert sum(sandbox["creates"] for sandbox in sandboxes) == 0
    assert e2b_server.state()["counts"]["created"] == IN_FLIGHT
    assert Counter(ledger.read_text().split()) == {f"t{number}": 1 for number in range(IN_FLIGHT)}


@pytest.mark.slow
def test_local_fifty_tasks_of_a_killed_worker_died_with_it_and_say_that_they_were_started_again(
    stage: Stage, nursery: Nursery
) -> None:
    workflow_id = in_flight(planned_for(stage, "local"), "v-local", f"sh -c 'sleep {SECONDS} && echo done'")
    with nursery.worker("sbxQ", DBOS__APPVERSION="v-local", SBX_PROVIDER="local") as group:
        until(lambda: len(sleeping()) == IN_FLIGHT, "not all began")
        before = set(sleeping())
        group.kill_processes()
        until(lambda: before.isdisjoint(sleeping()), "sandboxes outlived their worker")
        assert (
            stage.value(
                "SELECT count(*) FROM app.sbx_runs t JOIN app.runs r ON r.id = t.run_id WHERE r.workflow_id = %s",
                workflow_id,
            )
            == 0
        )
        until(lambda: all_done(stage, workflow_id), "not all ended")
    assert [sandbox["how"] for sandbox in evidence(stage, workflow_id)] == ["restarted"] * IN_FLIGHT


def sleeping() -> list[int]:
    """The tasks' own processes, not the sandboxes around them, whose command lines say the same."""
    return processes_with(f"sleep\0{SECONDS}")


@pytest.mark.slow
def test_local_a_worker_that_is_stopped_gives_its_folders_and_uids_back(
    engine: Engine, stage: Stage, nursery: Nursery
) -> None:
    before = sandbox_leftovers.take_inventory(settings().home)
    tests = [f"t{number}" for number in range(3)]
    workflow_id = planned_for(stage, "local").decided("stopped", tests=tests, command="true", version="v-stopped")
    fan_out.start(stage.dependencies, workflow_id)
    with nursery.worker("sbxQ", DBOS__APPVERSION="v-stopped", SBX_PROVIDER="local") as group:
        done = "SELECT count(*) FROM dbos.workflow_status WHERE parent_workflow_id = %s AND status = 'SUCCESS'"
        until(lambda: bool(stage.value(done, workflow_id) == len(tests)), "not all ended")
        group.stop()
        until(lambda: not group.is_running, "it did not stop")
    assert sandbox_leftovers.find_leftovers(settings().home, before, stack_is_running=False) == {}
