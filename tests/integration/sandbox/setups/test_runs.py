"""Runs with a setup on real sandbox workers: prepared once, recorded once, and ended once when it fails."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from resources import migrations
from resources.database import DATABASE, Database
from sisu_pipeline import oracle
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.queueing import fan_out
from sisu_pipeline.settings import settings
from tests.integration.engine.conftest import Engine, deployed
from tests.integration.engine.intents import Stage, until
from tests.integration.engine.workers import Nursery
from tests.integration.sandbox.conftest import processes_with

TASKS = 12


@pytest.fixture(scope="module")
def engine(database: Database) -> Iterator[Engine]:
    """A deployment whose tasks run in local sandboxes, with a database of its own."""
    own = Database(database.url.replace(f"/{DATABASE}?", "/setups?", 1))
    migrations.create_database(own)
    migrations.migrate(own)
    with deployed(own, SBX_MODE="live", SBX_PROVIDER="local") as running:
        yield running


@pytest.fixture(scope="module")
def nursery(engine: Engine) -> Iterator[Nursery]:
    with Nursery(engine.environment) as running:
        yield running


@pytest.fixture
def stage(engine: Engine) -> Stage:
    defaults = replace(engine.dependencies.task_defaults, provider="local")
    return Stage(replace(engine.dependencies, task_defaults=defaults), engine.instance)


def start(stage: Stage, goal: str, prepare: str, version: str, command: str = "cat chosen #") -> str:
    """A run with a setup, whose tasks are on their queue; returns its workflow id."""
    inputs = {"files": {"lock.txt": "1\n"}, "setup": {"prepare": prepare, "lockFiles": ["lock.txt"]}}
    tests = [f"t{number}" for number in range(TASKS)]
    workflow_id = stage.decided(goal, tests=tests, command=command, version=version, inputs=inputs)
    fan_out.start(stage.dependencies, workflow_id)
    return workflow_id


def recorded(stage: Stage, workflow_id: str) -> list[dict[str, Any]]:
    return stage.rows(
        "SELECT u.retry, u.outcome, u.exit_code, u.layer_sha256 FROM app.run_setups u "
        "JOIN app.runs r ON r.id = u.run_id WHERE r.workflow_id = %s",
        workflow_id,
    )


def outputs(stage: Stage, workflow_id: str) -> list[str]:
    rows = stage.rows(
        "SELECT t.response ->> 'stdout' AS text FROM app.sbx_runs t JOIN app.runs r ON r.id = t.run_id "
        "WHERE r.workflow_id = %s AND t.err_code = 'NONE'",
        workflow_id,
    )
    return [row["text"] for row in rows]


def check_laws(stage: Stage) -> None:
    with stage.dependencies.database.connect() as connection:
        broken = {verdict.law for verdict in oracle.judge_here(connection) if not verdict.holds}
    assert {law for law in broken if law.startswith(("202", "310", "315", "316"))} == set()


@pytest.mark.slow
def test_all_tasks_of_all_runs_find_what_one_execution_left(stage: Stage, nursery: Nursery) -> None:
    prepare = "head -c 32 /dev/urandom | base64 > chosen"
    with nursery.worker("sbxQ", DBOS__APPVERSION="v-setup", SBX_PROVIDER="local"):
        first = start(stage, "one", prepare, "v-setup")
        until(lambda: len(outputs(stage, first)) == TASKS, "not all ended")
        second = start(stage, "two", prepare, "v-setup")
        until(lambda: len(outputs(stage, second)) == TASKS, "not all ended")
    assert len({*outputs(stage, first), *outputs(stage, second)}) == 1
    rows = [*recorded(stage, first), *recorded(stage, second)]
    assert [(row["retry"], row["outcome"]) for row in rows] == [(0, "prepared"), (0, "cached")]
    assert rows[0]["layer_sha256"] == rows[1]["layer_sha256"]
    check_laws(stage)


def test_a_setup_that_fails_ends_the_run_once_with_its_exit_code_and_last_words(
    stage: Stage, nursery: Nursery
) -> None:
    with nursery.worker("sbxQ", DBOS__APPVERSION="v-fails", SBX_PROVIDER="local"):
        workflow_id = start(stage, "fails", "echo cannot resolve left-pad >&2; exit 7", "v-fails")
        run = stage.wait_for(workflow_id, RunStatus.RETRIES_EXCEEDED)
        done = "SELECT count(*) FROM dbos.workflow_status WHERE parent_workflow_id = %s AND status = 'SUCCESS'"
        until(lambda: bool(stage.value(done, workflow_id) == TASKS), "tasks were left")
    assert run.error == (
        "the prepare command of inputs.setup failed: it ended with exit code 7: cannot resolve left-pad"
    )
    assert [(row["outcome"], row["exit_code"]) for row in recorded(stage, workflow_id)] == [("failed", 7)]
    assert outputs(stage, workflow_id) == []
    check_laws(stage)


def test_a_worker_killed_while_it_prepares_leaves_it_to_the_next_one(stage: Stage, nursery: Nursery) -> None:
    prepare = "head -c 32 /dev/urandom | base64 > half; sleep 3.3331; mv half chosen"
    with nursery.worker("sbxQ", DBOS__APPVERSION="v-killed", SBX_PROVIDER="local") as group:
        workflow_id = start(stage, "killed", prepare, "v-killed")
        until(lambda: bool(processes_with("sleep\x003.3331")), "it did not start")
        before = set(processes_with("sleep\x003.3331"))
        group.kill_processes()
        until(lambda: before.isdisjoint(processes_with("sleep\x003.3331")), "the sandbox outlived its worker")
        until(lambda: len(outputs(stage, workflow_id)) == TASKS, "not all ended")
    assert len(set(outputs(stage, workflow_id))) == 1
    assert [row["outcome"] for row in recorded(stage, workflow_id)] == ["prepared"]
    assert not list((settings().home / "sandbox" / "setups").glob("*/half"))
    check_laws(stage)
