"""Chaos while a coding agent plans: agents, their workers, their model and the database are killed.

The agent plays a script; client, sandbox, tool, proxy and ledger are real.
"""

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resources.database import Connection, Database
from sisu_pipeline import database_server as server
from sisu_pipeline.proof.chaos import (
    chaos_lab,
    chaos_report,
    fault_schedule,
    lab_model,
    leftovers,
    scenarios,
    verdict,
)
from sisu_pipeline.proof.chaos.chaos_lab import ChaosRun
from sisu_pipeline.proof.chaos.fault_schedule import LIVE_FAULTS, FaultKind
from sisu_pipeline.proof.chaos.live_planning import draw_script
from sisu_pipeline.proof.chaos.scenarios import ScenarioKind
from sisu_pipeline.settings import load_settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MINUTES = 0.6
SEED = 7


@pytest.fixture(scope="module")
def chaos() -> Iterator[ChaosRun]:
    """A finished run."""
    with tempfile.TemporaryDirectory(prefix="sisu-live-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield chaos_lab.run(MINUTES, SEED, home=Path(folder) / "home", live=True)


@pytest.fixture(scope="module")
def database_after(chaos: ChaosRun) -> Iterator[Database]:
    """The database of the finished run, started again."""
    settings = load_settings({"SISU_HOME": str(chaos.home)})
    try:
        yield server.up(settings)
    finally:
        server.down(settings)


@pytest.fixture
def damaged(database_after: Database) -> Iterator[Connection]:
    """A transaction without triggers and foreign keys, which is rolled back."""
    with database_after.connect() as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        yield connection
        connection.rollback()


def test_no_plan_is_lost_or_made_twice_and_nothing_is_left(chaos: ChaosRun) -> None:
    report = chaos.report()
    assert report["passed"], chaos_report.summary(report, chaos.home)
    assert report["stories"]["intents"] == len(chaos.scenarios) >= 10
    hit = {each.planned.kind for each in chaos.injected if each.hit}
    assert len(hit & LIVE_FAULTS) >= 2, hit


def test_the_verdict_reports_a_plan_that_was_made_twice(chaos: ChaosRun, damaged: Connection) -> None:
    run = answered_run(damaged)
    damaged.execute("DROP INDEX app.opencode_calls_final")
    damaged.execute(
        "INSERT INTO app.opencode_calls SELECT (jsonb_populate_record(c, jsonb_build_object("
        "'id', 'occall_' || repeat('0', 16), 'try', 9))).* "
        "FROM app.opencode_calls c WHERE run_id = %s AND outcome = 'answered'",
        [run],
    )
    assert judged(chaos, damaged)["duplicated"] == 1


def test_the_verdict_reports_a_plan_without_an_answer_of_the_agent(chaos: ChaosRun, damaged: Connection) -> None:
    assert judged(chaos, damaged)["passed"]
    damaged.execute("DELETE FROM app.opencode_calls WHERE run_id = %s", [answered_run(damaged)])
    found = judged(chaos, damaged)
    assert found["wrong"] == 1
    assert "expected 1 answers of the agent, got 0" in found["violations"][0]["detail"]


def test_leftovers_are_sockets_and_folders_of_agents(tmp_path: Path) -> None:
    box = tmp_path / "agents" / "boxes" / "a" / "0-b" / "run"
    box.mkdir(parents=True)
    (tmp_path / "agents" / "interrupted").mkdir()
    assert [*leftovers.sockets(tmp_path)] == []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(box / "plan.sock"))
    assert [*leftovers.sockets(tmp_path)] == ["socket agents/boxes/a/0-b/run/plan.sock"]
    assert [*leftovers.agent_folders(tmp_path)] == ["folder agents/boxes/a"]


@pytest.mark.parametrize("seed", range(3))
def test_ten_minutes_have_two_hundred_intents_and_every_kind_of_fault(seed: int) -> None:
    drawn, faults = scenarios.draw(seed, 600, live=True), fault_schedule.draw(seed, 600, live=True)
    assert len(drawn) == 200
    assert {scenario.kind for scenario in drawn} == set(ScenarioKind)
    assert {fault.kind for fault in fault_schedule.draw(seed, 900, live=True)} == set(FaultKind)
    assert {fault.kind for fault in faults} >= LIVE_FAULTS
    assert faults == fault_schedule.draw(seed, 600, live=True)
    assert [draw_script(seed, each) for each in drawn] == [draw_script(seed, each) for each in drawn]


def test_an_agent_receives_the_files_and_not_the_plan() -> None:
    drawn = next(each for each in scenarios.draw(1, 600, live=True) if each.patches)
    assert set(drawn.intent["inputs"]) == {"files"}
    (submitted,) = (
        arguments
        for turn in draw_script(1, drawn, faults=False).sessions[-1]
        for name, arguments in turn.calls
        if name == "submit_plan"
    )
    assert submitted["tests"] == drawn.inputs["tests"]


def test_only_the_named_processes_are_killed() -> None:
    drawn = fault_schedule.draw(1, 600, live=True, kill=["agent", "planner-worker"])
    assert {each.kind for each in drawn} == {
        FaultKind.KILL_AGENT,
        FaultKind.KILL_PLANNER_WORKER,
        FaultKind.KILL_PLANNER_GROUP,
    }
    assert fault_schedule.kill_problem(["agent"], live=True) is None
    assert "requires --live" in str(fault_schedule.kill_problem(["agent"], live=False))
    assert "unknown process 'agents'" in str(fault_schedule.kill_problem(["agents"], live=True))


def test_a_script_survives_the_server_of_its_model(tmp_path: Path) -> None:
    lab_model.make_folder(tmp_path, 1)
    drawn = next(each for each in scenarios.draw(1, 600, live=True) if each.patches)
    script = draw_script(1, drawn)
    lab_model.write_script(tmp_path, drawn.goal, script)
    assert lab_model.read_script(tmp_path, drawn.goal) == script


def answered_run(connection: Connection) -> str:
    """A run that an agent planned and that succeeded."""
    row = connection.execute(
        "SELECT run_id FROM app.opencode_calls c JOIN app.runs r ON r.id = c.run_id "
        "WHERE outcome = 'answered' AND status = 'succeeded' LIMIT 1"
    ).fetchone()
    assert row is not None
    return str(row["run_id"])


def judged(chaos: ChaosRun, connection: Connection) -> dict[str, Any]:
    """The verdict on the rows that this transaction sees."""
    return verdict.judge_in_transaction(connection, chaos.outcomes, chaos.home / "workspaces")
