"""Versions: what waits for one goes to the workers of its declared successor, and is executed once."""

import json
import os
import pwd
import subprocess
import sys
import threading
from typing import Any

import pytest

from sisu_pipeline.contracts.operation import VersionAdoption
from sisu_pipeline.domain.errors import AdoptionRefused
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.settings import PROJECT_ROOT, child_environment
from sisu_pipeline.store.queues import versions
from sisu_pipeline.store.queues.versions import Adopted
from sisu_pipeline.supervisor import stack_health
from tests.integration.engine.conftest import Engine
from tests.integration.engine.intents import Stage, until
from tests.integration.engine.test_liveness import given_back
from tests.integration.engine.test_queues import enqueue
from tests.integration.engine.workers import Nursery, wait_for_workers

LONG = "v-" + "b" * 60
"""A version that is too long for the name of a connection."""


def adopt(stage: Stage, old: str, new: str, **request: Any) -> Adopted:
    with stage.dependencies.database.connect() as connection:
        adoption = VersionAdoption(old_version=old, new_version=new, **request)
        return versions.adopt(connection, adoption, "po", "cli")


def seen(stage: Stage, *names: str) -> None:
    """Workers of these versions have run before."""
    with stage.dependencies.database.connect() as connection:
        for name in names:
            connection.execute(
                "INSERT INTO dbos.application_versions (version_id, version_name) VALUES (%s, %s) "
                "ON CONFLICT DO NOTHING",
                [f"id of {name}", name],
            )


def executions(stage: Stage) -> dict[str, tuple[str, str, int]]:
    """Each workflow with its status, the version that executed it, and how often it was claimed."""
    rows = stage.rows(
        "SELECT workflow_uuid, status, application_version, recovery_attempts FROM dbos.workflow_status"
    )
    return {
        row["workflow_uuid"]: (row["status"], row["application_version"], row["recovery_attempts"]) for row in rows
    }


def test_an_intent_of_an_adopted_version_is_finished_by_its_successors_workers_at_every_moment_of_its_life(
    engine: Engine, stage: Stage, nursery: Nursery
) -> None:
    queued, waiting, killed = (stage.intent(name, command="sleep 1.5") for name in ("queued", "waiting", "killed"))
    with stage.dependencies.database.connect() as connection:
        connection.execute("UPDATE app.runs SET app_version = 'v-a'")
    with nursery.worker("intentQ", DBOS__APPVERSION="v-a") as group:
        stage.request(waiting)
        stage.wait_for(waiting, RunStatus.WAITING_INPUT)
        stage.decide(killed)
        stage.request(killed)
        until(lambda: len(stage.queue("sbxQ")) == 1, "the fan-out was not enqueued")
        (process,) = group.processes
        group.kill()
    stage.request(queued)
    wait_for_workers(engine.database, "intentQ", "v-a", count=0)
    with nursery.worker("intentQ", DBOS__APPVERSION="v-b"), nursery.worker("sbxQ", DBOS__APPVERSION="v-b"):
        wait_for_workers(engine.database, "intentQ", "v-b")
        wait_for_workers(engine.database, "sbxQ", "v-b")
        adopted = adopt(stage, "v-a", "v-b", reason="upgrade")
        assert adopted.handed_over >= 2  # the task, and the segment that was never claimed
        given_back(stage, killed, process)
        stage.wait_for(killed, RunStatus.SUCCEEDED)
        stage.wait_for(queued, RunStatus.WAITING_INPUT)
        for intent in (queued, waiting):
            stage.decide(intent)
        stage.sensor_tick()
        for intent in (queued, waiting):
            stage.wait_for(intent, RunStatus.SUCCEEDED)
        until(lambda: {*stage.queue().values()} == {"SUCCESS"}, "a segment did not end")
    assert stage.value("SELECT max(seen_count) FROM app.mock_receipts") == 1
    assert {stage.run(intent).app_version for intent in (queued, waiting, killed)} == {"v-a"}
    executed_by = {name: version for name, (_, version, _) in executions(stage).items()}
    assert executed_by.pop(waiting) == "v-a"
    assert {*executed_by.values()} == {"v-b"}
    assert stage.broken_laws() == []


def test_each_workflow_is_executed_once_while_workers_of_both_versions_run(
    engine: Engine, stage: Stage, nursery: Nursery
) -> None:
    with nursery.worker("intentQ", DBOS__APPVERSION="v-a"), nursery.worker("intentQ", DBOS__APPVERSION="v-b"):
        for version in ("v-a", "v-b"):
            wait_for_workers(engine.database, "intentQ", version)
        for number in range(40):
            enqueue(stage, f"job/{number}", partition=f"p{number % 4}", version="v-a")
            if number == 20:
                adopt(stage, "v-a", "v-b", while_running=True)
        until(lambda: {*stage.queue().values()} == {"SUCCESS"}, "a workflow did not end")
    assert {claims for _, _, claims in executions(stage).values()} == {1}
    assert "v-b" in {version for _, version, _ in executions(stage).values()}


def test_a_declaration_is_stored_once_with_its_author_and_reason_and_repeating_it_changes_nothing(
    stage: Stage,
) -> None:
    seen(stage, "v-a", "v-b")
    enqueue(stage, "job/1", version="v-a")
    first = adopt(stage, "v-a", "v-b", reason="upgrade")
    assert (first.is_replay, first.handed_over) == (False, 1)
    stored = first.adoption
    assert (stored.old_version, stored.new_version) == ("v-a", "v-b")
    assert (stored.adopted_by, stored.channel, stored.reason) == ("po", "cli", "upgrade")
    enqueue(stage, "job/2", version="v-a")
    again = adopt(stage, "v-a", "v-b", reason="another one")
    assert again == Adopted(stored, is_replay=True, handed_over=1)
    assert {version for _, version, _ in executions(stage).values()} == {"v-b"}


def test_work_goes_to_the_last_successor_whatever_the_order_of_the_declarations(stage: Stage) -> None:
    seen(stage, "v-a", "v-b", "v-c")
    for version in ("v-a", "v-b", "v-c"):
        enqueue(stage, f"job/{version}", version=version)
    adopt(stage, "v-b", "v-c")
    adopt(stage, "v-a", "v-b")
    assert {version for _, version, _ in executions(stage).values()} == {"v-c"}
    with stage.dependencies.database.connect() as connection:
        assert [versions.serving(connection, version) for version in ("v-a", "v-b", "v-c")] == ["v-c"] * 3


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("v-a", "v-a", "version v-a cannot succeed itself"),
        ("v-a", "v-never", "no worker of version v-never has ever started"),
        ("v-never", "v-b", "unknown version v-never"),
        ("v-b", "v-c", "version v-b has the successor v-d already"),
        ("v-e", "v-b", "version v-e succeeds version v-b already"),
    ],
)
def test_a_mistaken_declaration_is_refused_without_effect(stage: Stage, old: str, new: str, reason: str) -> None:
    seen(stage, "v-a", "v-b", "v-c", "v-d", "v-e")
    adopt(stage, "v-b", "v-d")
    adopt(stage, "v-d", "v-e")
    enqueue(stage, "job/1", version="v-a")
    with pytest.raises(AdoptionRefused, match=reason):
        adopt(stage, old, new)
    assert stage.value("SELECT count(*) FROM app.version_adoptions") == 2
    assert executions(stage) == {"job/1": ("ENQUEUED", "v-a", 0)}


def test_two_declarations_at_once_make_no_cycle(stage: Stage) -> None:
    seen(stage, "v-a", "v-b")
    refused: list[str] = []

    def declare_the_opposite() -> None:
        try:
            adopt(stage, "v-b", "v-a")
        except AdoptionRefused as refusal:
            refused.append(str(refusal))

    other = threading.Thread(target=declare_the_opposite)
    with stage.dependencies.database.connect() as connection:
        versions.adopt(connection, VersionAdoption(old_version="v-a", new_version="v-b"), "po", "cli")
        other.start()
        until(stage.waits_for_an_intents_lock, "the other declaration did not wait")
    other.join()
    assert len(refused) == 1
    assert "v-b succeeds version v-a already" in refused[0]


def test_a_version_whose_workers_execute_work_is_adopted_only_when_asked_to(
    engine: Engine, stage: Stage, nursery: Nursery
) -> None:
    seen(stage, "v-b")
    workflow_id = stage.intent("executing", command="sleep 2")
    stage.decide(workflow_id)
    with stage.dependencies.database.connect() as connection:
        connection.execute("UPDATE app.runs SET app_version = 'v-a'")
    with nursery.worker("intentQ", DBOS__APPVERSION="v-a"), nursery.worker("sbxQ", DBOS__APPVERSION="v-a"):
        stage.request(workflow_id)
        until(lambda: "PENDING" in stage.queue("sbxQ").values(), "the task did not start")
        with pytest.raises(AdoptionRefused, match=r"2 worker\(s\) of version v-a are running and execute 2"):
            adopt(stage, "v-a", "v-b")
        assert adopt(stage, "v-a", "v-b", while_running=True).handed_over == 0
        stage.wait_for(workflow_id, RunStatus.SUCCEEDED)
    assert {version for _, version, _ in executions(stage).values()} == {"v-a"}


def test_the_list_names_each_version_with_its_runs_work_workers_and_successor(
    engine: Engine, stage: Stage, nursery: Nursery
) -> None:
    seen(stage, "v-a")
    stage.intent("unfinished")
    with nursery.worker("sbxQ", DBOS__APPVERSION=LONG):
        wait_for_workers(engine.database, "sbxQ", LONG)
        registered = "SELECT count(*) FROM dbos.application_versions WHERE version_name = %s"
        until(lambda: stage.value(registered, LONG) == 1, "the worker did not register its version")
        adopt(stage, "v1", LONG)
        enqueue(stage, "job/1", version="v-a")
        with stage.dependencies.database.connect() as connection:
            found = versions.states(connection)
    counts = {
        state.version: (state.unfinished_runs, state.enqueued, state.pending, state.workers) for state in found
    }
    # A sandbox worker of v1 may serve other tests.
    counts["v1"] = (*counts["v1"][:3], 0)
    assert counts == {LONG: (0, 0, 0, 1), "v-a": (0, 1, 0, 0), "v1": (1, 0, 0, 0)}
    assert [None if state.adoption is None else state.adoption.new_version for state in found] == [
        None,
        None,
        LONG,
    ]


def test_the_doctor_fails_while_unfinished_runs_have_a_version_that_no_intent_worker_serves(
    engine: Engine, stage: Stage, nursery: Nursery
) -> None:
    stage.intent("waits")

    def check() -> stack_health.Check:
        with stage.dependencies.database.connect() as connection:
            return stack_health.served(connection)

    assert check().detail == ("no intent worker takes unfinished runs: 1 of v1. See `sisu version adopt --help`")
    with nursery.worker("intentQ", DBOS__APPVERSION="v-b"):
        wait_for_workers(engine.database, "intentQ", "v-b")
        assert not check().ok
        seen(stage, "v-b")
        adopt(stage, "v1", "v-b")
        assert check().ok


def test_the_command_records_its_user_and_fails_with_the_reason_of_a_refusal(engine: Engine, stage: Stage) -> None:
    seen(stage, "v-a", "v-b")
    made = sisu(engine, "adopt", "v-a", "v-b", "--reason", "upgrade", "--json")
    document = json.loads(made.stdout)
    assert document.pop("adoptedAt")
    assert document == {
        "oldVersion": "v-a",
        "newVersion": "v-b",
        "adoptedBy": pwd.getpwuid(os.getuid()).pw_name,
        "channel": "cli",
        "reason": "upgrade",
        "isReplay": False,
        "handedOver": 0,
    }
    refused = sisu(engine, "adopt", "v-b", "v-a")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("sisu: version v-b succeeds version v-a already, so v-a cannot succeed it")
    rows = [line.split() for line in sisu(engine, "list").stdout.splitlines()]
    # A sandbox worker of v1 may serve other tests.
    rows = [row for row in rows if row[0] != "v1"]
    assert rows == [
        ["VERSION", "UNFINISHED", "ENQUEUED", "PENDING", "WORKERS", "SUCCESSOR"],
        ["v-a", "0", "0", "0", "0", "v-b"],
        ["v-b", "0", "0", "0", "0", "-"],
    ]


def sisu(engine: Engine, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of `sisu version` on the engine's database."""
    command = [sys.executable, "-m", "sisu_pipeline.cli", "version", *arguments]
    environment = child_environment(**engine.environment)
    return subprocess.run(command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=False)
