"""The oracle tells the truth: silent about a correct world, and about each broken law exactly that law."""

from pathlib import Path

import psycopg
import pytest

from resources.database import Connection
from sisu_pipeline import oracle
from sisu_pipeline.oracle import Law, Verdict
from tests.integration.oracle.faults import FAULTS, LEGAL, Change, Fault
from tests.integration.oracle.world import World

LAWS = oracle.laws()
ON_DBOS = {law.name for law in LAWS if law.needs == "dbos.workflow_status"}


def broken(verdicts: list[Verdict]) -> dict[str, tuple[dict[str, object], ...]]:
    """The broken laws and their rows; compared as a whole, so that a failure shows what was found."""
    return {verdict.law: verdict.rows for verdict in verdicts if not verdict.holds}


def test_a_correct_world_is_clean(world: World) -> None:
    with world.dependencies.database.connect() as connection:
        verdicts = oracle.judge(connection)
    assert broken(verdicts) == {}
    assert oracle.is_clean(verdicts)
    assert [verdict.law for verdict in verdicts] == [law.name for law in LAWS]
    assert all(verdict.applicable for verdict in verdicts)


def test_an_empty_database_is_clean(scratch: Connection) -> None:
    rows = scratch.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'app'").fetchall()
    for row in rows:
        scratch.execute(f'DELETE FROM app."{row["tablename"]}"')
    scratch.execute("DELETE FROM dbos.workflow_status")
    assert broken(oracle.judge_here(scratch)) == {}


def test_without_dbos_tables_its_laws_are_not_applicable_and_the_others_are_judged(scratch: Connection) -> None:
    scratch.execute("DROP SCHEMA dbos CASCADE")
    verdicts = oracle.judge_here(scratch)
    assert {verdict.law for verdict in verdicts if not verdict.applicable} == ON_DBOS
    assert broken(verdicts) == {}


def test_without_dbos_rows_nothing_is_broken(scratch: Connection) -> None:
    scratch.execute("DELETE FROM dbos.workflow_status")
    assert broken(oracle.judge_here(scratch)) == {}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.law}:{fault.name.replace(' ', '-')}")
def test_each_fault_is_reported_by_its_law_and_by_no_other(fault: Fault, world: World, scratch: Connection) -> None:
    for statement in fault.statements:
        changed = scratch.execute(statement, world.ids)
        assert changed.rowcount != 0, f"the fault changed nothing: {statement}"
    verdicts = oracle.judge_here(scratch)
    found = broken(verdicts)
    assert set(found) == {fault.law}, found
    assert not oracle.is_clean(verdicts)
    for row in found[fault.law]:
        assert isinstance(row["detail"], str)
        assert row["detail"]


@pytest.mark.parametrize("change", LEGAL, ids=lambda change: change.name.replace(" ", "-"))
def test_what_may_happen_is_not_reported(change: Change, world: World, scratch: Connection) -> None:
    for statement in change.statements:
        assert scratch.execute(statement, world.ids).rowcount != 0, f"nothing changed: {statement}"
    assert broken(oracle.judge_here(scratch)) == {}


def test_every_law_has_a_fault_that_breaks_it() -> None:
    assert {fault.law for fault in FAULTS} == {law.name for law in LAWS}


def test_a_verdict_carries_at_most_limit_rows(scratch: Connection) -> None:
    scratch.execute("UPDATE app.runs SET recipe_version = 99")
    few = broken(oracle.judge_here(scratch, limit=3))["030_run_is_pinned_to_its_recipe"]
    assert len(few) == 3


def test_judging_reads_one_snapshot_and_can_write_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    mode = (
        "SELECT current_setting('transaction_isolation') || ', ' || current_setting('transaction_read_only') "
        "AS detail"
    )
    monkeypatch.setattr(oracle, "laws", lambda: [Law("mode", "Tells its transaction.", "test", None, mode)])
    with world.dependencies.database.connect() as connection:
        verdicts = oracle.judge(connection)
    assert verdicts[0].rows == ({"detail": "repeatable read, on"},)


def test_judging_inside_a_transaction_is_refused(world: World) -> None:
    with world.dependencies.database.connect() as connection:
        connection.execute("SELECT 1")
        with pytest.raises(psycopg.errors.ActiveSqlTransaction):
            oracle.judge(connection)


def test_each_law_says_what_it_means_and_where_it_comes_from() -> None:
    assert len(LAWS) >= 20
    for law in LAWS:
        assert law.purpose.endswith((".", ")")), law.name
        assert law.source, law.name
        assert law.needs in (None, "dbos.workflow_status", "dagster.runs"), law.name
        assert "needs:" not in law.purpose, law.name


def test_a_law_without_a_source_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "oracle").mkdir()
    (tmp_path / "oracle" / "001_mute.sql").write_text("-- A law.\nSELECT 1\n")
    monkeypatch.setattr("sql._ROOT", tmp_path)
    with pytest.raises(ValueError, match="001_mute"):
        oracle.laws()
