"""A minute of chaos: everything is killed, frozen and cut off, and nothing is lost, done twice or stuck.

Then the finished database is damaged in many ways, one after another, and the verdict says each time what is wrong.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from resources.database import Connection, Database
from sisu_pipeline import database_server as server
from sisu_pipeline.proof.chaos import chaos_lab, chaos_report, fault_schedule, faults, scenarios, verdict
from sisu_pipeline.proof.chaos.chaos_lab import Storm
from sisu_pipeline.proof.chaos.fault_schedule import Kind
from sisu_pipeline.proof.chaos.scenarios import Plot, Verb
from sisu_pipeline.proof.chaos.workload import Told
from sisu_pipeline.settings import load_settings

pytestmark = pytest.mark.timeout(600)

MINUTES = 1.0
# A seed whose short schedule kills workers, the daemon and the API, freezes a worker and restarts Postgres.
SEED = 38


@pytest.fixture(scope="module")
def storm() -> Iterator[Storm]:
    """A minute of chaos, and what it left."""
    with tempfile.TemporaryDirectory(prefix="sisu-chaos-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield chaos_lab.run(MINUTES, SEED, home=Path(folder) / "home")


@pytest.fixture(scope="module")
def remains(storm: Storm) -> Iterator[Database]:
    """The database that chaos left, up again."""
    settings = load_settings({"SISU_HOME": str(storm.home)})
    try:
        yield server.up(settings)
    finally:
        server.down(settings)


@pytest.fixture
def damaged(remains: Database) -> Iterator[Connection]:
    """A transaction on it in which no trigger and no foreign key refuses anything; it is rolled back."""
    with remains.connect() as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        yield connection
        connection.rollback()


def test_a_minute_of_chaos_loses_repeats_and_strands_nothing(storm: Storm) -> None:
    report = storm.report()
    assert report["passed"], chaos_report.words(report, storm.home)
    verdict = report["verdict"]
    assert (verdict["lost"], verdict["duplicated"], verdict["stuck"], verdict["wrong"]) == (0, 0, 0, 0)
    assert report["stories"]["intents"] == len(storm.stories) >= 40


def test_the_faults_truly_happened(storm: Storm) -> None:
    hit = {one.planned.kind for one in storm.struck if one.hit}
    assert len(hit) >= 5, hit
    assert len([one for one in storm.struck if one.hit]) >= len(storm.schedule) * 0.7
    restarted = (storm.home / "start.log").read_text().count("restarted")
    assert restarted >= 2, "the supervisor restarted nothing"


@dataclass(frozen=True)
class Damage:
    """A change of the finished rows, about the run `:run`, and what the verdict must call it."""

    plot: Plot
    statement: str
    called: str


DAMAGES = {
    "a task executed twice": Damage(
        Plot.APPROVED, "UPDATE app.mock_receipts SET seen_count = 2 WHERE run_id = %(run)s", "duplicated"
    ),
    "a result that is gone": Damage(Plot.APPROVED, "DELETE FROM app.sbx_runs WHERE run_id = %(run)s", "wrong"),
    "a run that is gone": Damage(Plot.APPROVED, "DELETE FROM app.runs WHERE id = %(run)s", "lost"),
    "a run that never ends": Damage(
        Plot.APPROVED, "UPDATE app.runs SET status = 'running' WHERE id = %(run)s", "stuck"
    ),
    "a rejected plan that was executed": Damage(
        Plot.REJECTED,
        "INSERT INTO app.mock_receipts (receipt_key, run_id, step_id, payload_hash, idempotency_key, first_attempt,"
        " last_attempt) VALUES (repeat('0', 64), %(run)s, 'ExecuteST', repeat('0', 64), repeat('0', 64), 1, 1)",
        "wrong",
    ),
    "a cancellation that was forgotten": Damage(
        Plot.CANCELED, "UPDATE app.runs SET closed_at = NULL WHERE id = %(run)s", "stuck"
    ),
    "Dagster thinks otherwise": Damage(
        Plot.APPROVED,
        "UPDATE dagster.runs SET status = 'FAILURE' "
        "WHERE run_id = (SELECT dagster_run_id FROM app.runs WHERE id = %(run)s)",
        "wrong",
    ),
    "Dagster still runs it": Damage(
        Plot.APPROVED,
        "UPDATE dagster.runs SET status = 'STARTED' "
        "WHERE run_id = (SELECT dagster_run_id FROM app.runs WHERE id = %(run)s)",
        "stuck",
    ),
    "a segment nobody finishes": Damage(
        Plot.APPROVED,
        "UPDATE dbos.workflow_status SET status = 'PENDING' "
        "WHERE workflow_uuid = (SELECT workflow_id FROM app.runs WHERE id = %(run)s)",
        "stuck",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_the_verdict_calls_damage_by_its_name(name: str, storm: Storm, damaged: Connection) -> None:
    damage = DAMAGES[name]
    one = next(told for told in storm.told if told.story.plot is damage.plot and not told.wrong)
    row = damaged.execute("SELECT id FROM app.runs WHERE workflow_id = %s", [one.workflow_id]).fetchone()
    assert row is not None
    untouched = judged(storm, damaged)
    assert untouched["passed"], untouched
    assert damaged.execute(damage.statement, {"run": row["id"]}).rowcount > 0
    verdict = judged(storm, damaged)
    assert not verdict["passed"]
    assert verdict[damage.called] > 0, verdict["violations"]


def test_a_patch_that_was_not_taken_back_is_seen_in_the_files(storm: Storm, damaged: Connection) -> None:
    ends = ("retries_exceeded", "canceled")
    rows = damaged.execute("SELECT id, workflow_id FROM app.runs WHERE status = ANY(%s)", [list(ends)]).fetchall()
    folders = {row["workflow_id"]: storm.home / "workspaces" / row["id"] for row in rows}
    patched = [one for one in storm.told if one.story.patches and folders.get(one.workflow_id, Path("-")).exists()]
    path = folders[patched[0].workflow_id] / "notes.txt"
    before = path.read_text()
    path.write_text("left behind\n")
    try:
        verdict = judged(storm, damaged)
        assert not verdict["passed"]
        assert "notes.txt holds 'left behind" in verdict["violations"][0]["detail"]
    finally:
        path.write_text(before)


def test_an_answer_that_was_none_breaks_the_report(storm: Storm, damaged: Connection) -> None:
    told = [Told(one.story, one.workflow_id, one.done, ["approve: 404"]) for one in storm.told[:1]] + storm.told[1:]
    judged = verdict.judge_here(damaged, told, storm.home / "workspaces")
    assert judged["wrong"] == 1
    report = storm.report() | {"passed": False, "verdict": judged}
    assert "**BROKEN**" in chaos_report.markdown(report)
    assert "approve: 404" in chaos_report.markdown(report)


def test_a_story_that_was_canceled_must_end_canceled(storm: Storm) -> None:
    story = next(one for one in storm.stories if one.plot is Plot.CANCELED_LATE)
    late, refused = Told(story, done=[(Verb.CANCEL, 202)]), Told(story, done=[(Verb.CANCEL, 409)])
    assert verdict.end_of(late).status == "canceled"
    assert verdict.end_of(refused).status == "succeeded"


def test_the_reports_are_written(storm: Storm, tmp_path: Path) -> None:
    report = storm.report()
    chaos_report.write(report, tmp_path / "chaos-report.md")
    text = (tmp_path / "chaos-report.md").read_text()
    assert f"--seed {SEED}" in text
    assert "**held**" in text
    assert report["schedule_sha256"] in text
    assert (tmp_path / "chaos-report.json").stat().st_size < 20_000
    assert (storm.home / "report.json").exists()


def judged(storm: Storm, connection: Connection) -> dict[str, Any]:
    """The verdict on what this transaction sees."""
    return verdict.judge_here(connection, storm.told, storm.home / "workspaces")


@pytest.mark.parametrize("draw", [scenarios.draw, fault_schedule.draw], ids=["stories", "faults"])
def test_the_same_seed_is_the_same_schedule_and_another_is_another(
    draw: Callable[[int, float], list[Any]],
) -> None:
    assert draw(1, 600) == draw(1, 600)
    assert draw(1, 600) != draw(2, 600)


@pytest.mark.parametrize("seed", range(5))
def test_ten_minutes_hold_five_hundred_intents_and_a_hundred_faults_of_every_kind(seed: int) -> None:
    stories, drawn = scenarios.draw(seed, 600), fault_schedule.draw(seed, 600)
    assert len(stories) >= 500
    assert {story.plot for story in stories} == set(Plot)
    assert {0, 30} <= {len(story.inputs["tests"]) for story in stories}
    assert len(drawn) >= 110
    assert {fault.kind for fault in drawn} == set(Kind)


def test_a_frozen_worker_sleeps_past_its_takeover() -> None:
    drawn = fault_schedule.draw(1, 600)
    workers = [one for one in drawn if one.kind in faults._FROZEN_WORKERS]
    assert workers
    assert all(one.seconds > 5 for one in workers)
