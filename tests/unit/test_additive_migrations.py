"""Migrations only add, so that processes of the release before work on; one that does otherwise declares it."""

import pytest

import sql
from tests import sql_gates

FIRST_CHECKED = "0141"
"""The migrations before this one are released as they are."""


def test_each_migration_only_adds_or_declares_what_it_breaks() -> None:
    scripts = [script for script in sql.migrations() if script.name >= FIRST_CHECKED]
    found = {script.name: sql_gates.breaking_changes(script.text) for script in scripts if not script.breaking}
    assert {name: changes for name, changes in found.items() if changes} == {}


def test_a_declaration_is_needed() -> None:
    declared = [script for script in sql.migrations() if script.breaking]
    assert [script.name for script in declared if not sql_gates.breaking_changes(script.text)] == []


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE app.runs",
        "DROP TABLE IF EXISTS app.runs",
        "DROP VIEW app.run_history",
        "DROP SCHEMA access CASCADE",
        "ALTER TABLE app.runs DROP COLUMN lane",
        "ALTER TABLE app.runs DROP lane",
        "ALTER TABLE ONLY app.runs ADD COLUMN x int, DROP COLUMN IF EXISTS lane",
        "ALTER TABLE app.runs RENAME COLUMN lane TO track",
        "ALTER TABLE app.runs RENAME TO executions",
        "ALTER TABLE app.runs ALTER COLUMN priority TYPE smallint",
        "ALTER TABLE app.runs ALTER priority SET DATA TYPE smallint",
        "ALTER TABLE app.runs ALTER COLUMN lane SET NOT NULL",
        "ALTER TABLE app.runs ALTER COLUMN lane DROP DEFAULT",
        "ALTER TABLE app.runs ADD COLUMN needed text NOT NULL",
        "ALTER TABLE app.runs SET SCHEMA other",
        "CREATE INDEX i ON app.runs (id); alter table app.runs  drop\n column lane",
    ],
)
def test_what_breaks_processes_of_the_release_before_is_found(statement: str) -> None:
    assert sql_gates.breaking_changes(f"{statement};") != []


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE app.runs ADD COLUMN started_at timestamptz",
        "ALTER TABLE app.runs ADD COLUMN size int NOT NULL DEFAULT 0",
        "ALTER TABLE app.runs DROP CONSTRAINT runs_lane_check, ADD CONSTRAINT runs_lane_check CHECK (lane <> '')",
        "ALTER TABLE app.runs ALTER COLUMN lane DROP NOT NULL",
        "DROP INDEX app.runs_by_start",
        "CREATE OR REPLACE VIEW app.run_history AS SELECT 'DROP TABLE app.runs' AS x",
        "CREATE TABLE app.other (id text NOT NULL)",
        "-- DROP TABLE app.runs",
        "COMMENT ON TABLE app.runs IS 'rename to nothing'",
    ],
)
def test_what_only_adds_is_not_found(statement: str) -> None:
    assert sql_gates.breaking_changes(f"{statement};") == []


def test_a_declaration_is_a_line_of_the_leading_comment() -> None:
    script = sql.Script("0999_x", "x", "-- A change.\n-- breaking: workers write the column\nDROP TABLE app.x;")
    assert script.breaking == "workers write the column"
    assert sql.Script("0999_x", "x", "-- A change.\nSELECT 1;").breaking is None
