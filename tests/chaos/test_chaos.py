"""A minute of chaos: processes are killed, frozen and disconnected; no intent is lost, repeated or stuck.

Then the resulting database is damaged in many ways, one after another, and the verdict must report each damage.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from resources.database import Connection, Database
from sisu_pipeline import database_server as server
from sisu_pipeline.proof.chaos import chaos_lab, chaos_report, fault_injector, fault_schedule, scenarios, verdict
from sisu_pipeline.proof.chaos.chaos_lab import ChaosRun
from sisu_pipeline.proof.chaos.fault_schedule import LIVE_FAULTS, FaultKind
from sisu_pipeline.proof.chaos.scenarios import LIVE_KINDS, Operation, ScenarioKind
from sisu_pipeline.proof.chaos.workload import ScenarioOutcome
from sisu_pipeline.settings import load_settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MINUTES = 1.0
# A seed whose short schedule kills workers, the daemon and the API, freezes a worker, restarts Postgres and takes
# its connections, fills the disk and puts clocks three hours off.
SEED = 3088


@pytest.fixture(scope="module")
def chaos() -> Iterator[ChaosRun]:
    """A finished run of one minute."""
    with tempfile.TemporaryDirectory(prefix="sisu-chaos-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield chaos_lab.run(MINUTES, SEED, home=Path(folder) / "home")


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


def test_a_minute_of_chaos_loses_repeats_and_strands_no_intent(chaos: ChaosRun) -> None:
    report = chaos.report()
    assert report["passed"], chaos_report.summary(report, chaos.home)
    verdict = report["verdict"]
    assert (verdict["lost"], verdict["duplicated"], verdict["stuck"], verdict["wrong"]) == (0, 0, 0, 0)
    assert report["stories"]["intents"] == len(chaos.scenarios) >= 40
    ends = (ScenarioKind.EXPIRED, ScenarioKind.REOPENED)
    assert report["deadlines"]["n"] >= sum(each.kind in ends for each in chaos.scenarios) > 0


def test_the_faults_were_injected(chaos: ChaosRun) -> None:
    hit = {one.planned.kind for one in chaos.injected if one.hit}
    assert len(hit) >= 5, hit
    assert len([one for one in chaos.injected if one.hit]) >= len(chaos.schedule) * 0.7
    restarts = (chaos.home / "start.log").read_text().count("restarted")
    assert restarts >= 2, "the supervisor restarted no process"


@dataclass(frozen=True)
class Damage:
    """A change of the rows of one run, and the breach that the verdict must report."""

    kind: ScenarioKind
    statement: str
    breach: str


DAMAGES = {
    "a task executed twice": Damage(
        ScenarioKind.APPROVED, "UPDATE app.mock_receipts SET seen_count = 2 WHERE run_id = %(run)s", "duplicated"
    ),
    "a missing result": Damage(ScenarioKind.APPROVED, "DELETE FROM app.sbx_runs WHERE run_id = %(run)s", "wrong"),
    "a missing run": Damage(ScenarioKind.APPROVED, "DELETE FROM app.runs WHERE id = %(run)s", "lost"),
    "a run that never ends": Damage(
        ScenarioKind.APPROVED, "UPDATE app.runs SET status = 'running' WHERE id = %(run)s", "stuck"
    ),
    "a rejected plan that was executed": Damage(
        ScenarioKind.REJECTED,
        "INSERT INTO app.mock_receipts (receipt_key, run_id, step_id, payload_hash, idempotency_key, first_attempt,"
        " last_attempt) VALUES (repeat('0', 64), %(run)s, 'ExecuteST', repeat('0', 64), repeat('0', 64), 1, 1)",
        "wrong",
    ),
    "a canceled run that was not cleaned up": Damage(
        ScenarioKind.CANCELED, "UPDATE app.runs SET closed_at = NULL WHERE id = %(run)s", "stuck"
    ),
    "a Dagster run with another status": Damage(
        ScenarioKind.APPROVED,
        "UPDATE dagster.runs SET status = 'FAILURE' "
        "WHERE run_id = (SELECT dagster_run_id FROM app.runs WHERE id = %(run)s)",
        "wrong",
    ),
    "a Dagster run that never ends": Damage(
        ScenarioKind.APPROVED,
        "UPDATE dagster.runs SET status = 'STARTED' "
        "WHERE run_id = (SELECT dagster_run_id FROM app.runs WHERE id = %(run)s)",
        "stuck",
    ),
    "a Dagster run without tags that never ends": Damage(
        ScenarioKind.APPROVED,
        "WITH owned AS (SELECT dagster_run_id AS id FROM app.runs WHERE id = %(run)s), "
        "untagged AS (DELETE FROM dagster.run_tags WHERE run_id = (SELECT id FROM owned)) "
        "UPDATE dagster.runs SET status = 'STARTED' WHERE run_id = (SELECT id FROM owned)",
        "stuck",
    ),
    "a Dagster run of no intent that never ends": Damage(
        ScenarioKind.CANCELED,
        "INSERT INTO dagster.runs (run_id, pipeline_name, status, run_body) "
        "SELECT 'left-by-a-daemon-' || id, 'intent_workflow', 'NOT_STARTED', '{}' FROM app.runs WHERE id = %(run)s",
        "stuck",
    ),
    "a decision before its deadline": Damage(
        ScenarioKind.EXPIRED,
        "UPDATE app.plan_approvals SET decided_at = decided_at - interval '1 hour' WHERE run_id = %(run)s",
        "broken_laws",
    ),
    "a segment that never ends": Damage(
        ScenarioKind.APPROVED,
        "UPDATE dbos.workflow_status SET status = 'PENDING' "
        "WHERE workflow_uuid = (SELECT workflow_id FROM app.runs WHERE id = %(run)s)",
        "stuck",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_the_verdict_reports_the_breach_of_every_damage(name: str, chaos: ChaosRun, damaged: Connection) -> None:
    damage = DAMAGES[name]
    outcome = next(
        each for each in chaos.outcomes if each.scenario.kind is damage.kind and not each.wrong_responses
    )
    row = damaged.execute("SELECT id FROM app.runs WHERE workflow_id = %s", [outcome.workflow_id]).fetchone()
    assert row is not None
    untouched = judged(chaos, damaged)
    assert untouched["passed"], untouched
    assert damaged.execute(damage.statement, {"run": row["id"]}).rowcount > 0
    verdict = judged(chaos, damaged)
    assert not verdict["passed"]
    assert verdict[damage.breach], verdict["violations"]


def test_a_patch_that_was_not_rolled_back_is_found_in_the_files(chaos: ChaosRun, damaged: Connection) -> None:
    ends = ("retries_exceeded", "canceled")
    rows = damaged.execute("SELECT id, workflow_id FROM app.runs WHERE status = ANY(%s)", [list(ends)]).fetchall()
    folders = {row["workflow_id"]: chaos.home / "workspaces" / row["id"] for row in rows}
    patched = [
        each
        for each in chaos.outcomes
        if each.scenario.patches and folders.get(each.workflow_id, Path("-")).exists()
    ]
    path = folders[patched[0].workflow_id] / "notes.txt"
    before = path.read_text()
    path.write_text("left behind\n")
    try:
        verdict = judged(chaos, damaged)
        assert not verdict["passed"]
        assert "notes.txt contains 'left behind" in verdict["violations"][0]["detail"]
    finally:
        path.write_text(before)


def test_a_response_that_violates_the_api_fails_the_report(chaos: ChaosRun, damaged: Connection) -> None:
    first, *rest = chaos.outcomes
    wrong = ScenarioOutcome(first.scenario, first.workflow_id, first.responses, ["approve: 404"])
    outcomes = [wrong, *rest]
    judged = verdict.judge_in_transaction(damaged, outcomes, chaos.home / "workspaces")
    assert judged["wrong"] == 1
    report = chaos.report() | {"passed": False, "verdict": judged}
    assert "**FAILED**" in chaos_report.markdown(report)
    assert "approve: 404" in chaos_report.markdown(report)


def test_a_scenario_whose_cancellation_was_accepted_must_end_canceled(chaos: ChaosRun) -> None:
    scenario = next(each for each in chaos.scenarios if each.kind is ScenarioKind.CANCELED_LATE)
    accepted = ScenarioOutcome(scenario, responses=[(Operation.CANCEL, 202)])
    refused = ScenarioOutcome(scenario, responses=[(Operation.CANCEL, 409)])
    assert verdict.expected_end(accepted).status == "canceled"
    assert verdict.expected_end(refused).status == "succeeded"


def test_the_reports_are_written(chaos: ChaosRun, tmp_path: Path) -> None:
    report = chaos.report()
    chaos_report.write(report, tmp_path / "chaos-report.md")
    text = (tmp_path / "chaos-report.md").read_text()
    assert f"--seed {SEED}" in text
    assert "**passed**" in text
    assert report["schedule_sha256"] in text
    assert (tmp_path / "chaos-report.json").stat().st_size < 20_000
    assert (chaos.home / "report.json").exists()


def judged(chaos: ChaosRun, connection: Connection) -> dict[str, Any]:
    """The verdict on the rows that this transaction sees."""
    return verdict.judge_in_transaction(connection, chaos.outcomes, chaos.home / "workspaces")


@pytest.mark.parametrize("draw", [scenarios.draw, fault_schedule.draw], ids=["scenarios", "faults"])
def test_equal_seeds_draw_equal_schedules_and_different_seeds_different_ones(
    draw: Callable[[int, float], list[Any]],
) -> None:
    assert draw(1, 600) == draw(1, 600)
    assert draw(1, 600) != draw(2, 600)


@pytest.mark.parametrize("seed", range(5))
def test_ten_minutes_have_five_hundred_intents_and_a_hundred_faults_of_every_kind(seed: int) -> None:
    drawn, faults = scenarios.draw(seed, 600), fault_schedule.draw(seed, 600)
    assert len(drawn) >= 500
    assert {scenario.kind for scenario in drawn} == set(ScenarioKind) - set(LIVE_KINDS)
    assert {0, 30} <= {len(scenario.inputs["tests"]) for scenario in drawn}
    assert len(faults) >= 110
    assert {fault.kind for fault in faults} == set(FaultKind) - LIVE_FAULTS


def test_a_worker_is_frozen_for_longer_than_its_takeover_takes() -> None:
    drawn = fault_schedule.draw(1, 600)
    workers = [one for one in drawn if one.kind in fault_injector.FROZEN_WORKERS]
    assert workers
    assert all(one.seconds > 5 for one in workers)
