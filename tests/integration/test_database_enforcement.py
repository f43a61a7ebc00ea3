"""What Postgres itself refuses, whichever client sends it."""

import psycopg
import pytest
from psycopg import sql

from resources.database import Connection, Database
from sisu_pipeline.contracts.gate import Decision
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store import runs
from sisu_pipeline.workflow.dependencies import Dependencies
from tests.builders import a_run, an_intent
from tests.integration.life import FILES, PATCHES, Life, ended

# The tables whose rows are final, with the columns that may change.
LEDGERS: dict[str, set[str]] = {
    "intents": set(),
    "submissions": set(),
    "policies": set(),
    "recipes": set(),
    "runs": {
        *("status", "error", "next_action", "last_step", "segment", "retry_count", "app_version"),
        *("dagster_run_id", "created_at", "requested_at", "started_at", "updated_at", "closed_at"),
    },
    "plan_questions": set(),
    "opencode_calls": set(),
    "run_bases": set(),
    "run_setups": set(),
    "base_files": set(),
    "notification_events": set(),
    "notification_deliveries": {"state", "attempts", "next_attempt_at", "last_error", "ended_at"},
    "push_requests": {"attempts", "next_attempt_at", "last_error", "finished_at"},
    "run_pushes": set(),
    "run_changes": set(),
    "run_assignments": set(),
    "run_steps": set(),
    "artifacts": set(),
    "human_gates": {"deadline_at"},
    "human_interactions": set(),
    "change_requests": set(),
    "gate_answers": set(),
    "passed_deadlines": set(),
    "plan_approvals": {"reported_at", "plan_sha256", "signature"},  # the last two from null only
    "approval_votes": {"signature"},
    "complete_plans": set(),
    "plan_versions": set(),
    "patch_history": {"applied_at", "rolled_back_at"},
    "sbx_runs": set(),
    "sbx_attempts": set(),
    "worker_deaths": set(),
    "version_adoptions": set(),
    "mock_receipts": {
        *("payload_hash", "idempotency_key", "last_attempt", "seen_count", "request_count"),
        *("duration_ms", "started_at", "updated_at"),
    },
}
OTHERS = {
    *("run_transitions", "schema_migrations", "sbx_templates", "escalations", "task_output"),
    "notification_receivers",
    "run_search",
}

# What the steps of one run do not write: a row in each of the other ledgers.
_ROWS = """
INSERT INTO app.human_interactions (run_id, gate_key, dedupe_key, kind, actor, payload, payload_hash)
    SELECT run_id, gate_key, 'k', 'approve', 'po', '{}', plan_sha256 FROM app.human_gates;
INSERT INTO app.change_requests (
    run_id, round, gate_key, dedupe_key, plan_sha256, comment, requested_by, channel)
    SELECT run_id, 2, gate_key, 'k', plan_sha256, 'c', 'po', 'api' FROM app.human_gates;
INSERT INTO app.plan_questions (op_key, run_id, step_id, attempt, prompt, prompt_sha256, schema_sha256)
    SELECT 'op_' || repeat('0', 64), id, 'CompileST', 1, '', repeat('0', 64), repeat('0', 64) FROM app.runs;
INSERT INTO app.opencode_calls (
    id, op_key, run_id, step_id, attempt, try, outcome, is_final, error, agent, stop_reasons, response, tool_calls,
    model_calls, uncounted_calls, input_tokens, output_tokens, peak_mb, durations_ms, transcript_uri,
    transcript_sha256)
    SELECT 'occall_' || repeat('0', 16), op_key, run_id, 'CompileST', 1, 1, 'failed', true, '{}', 'a', '[]', '',
        '{}', 0, 0, 0, 0, 0, '{}', 'artifact://run', repeat('0', 64) FROM app.plan_questions;
INSERT INTO app.run_bases (run_id, address, ref, commit_id, tree_id)
    SELECT id, '/a', 'main', repeat('0', 40), repeat('0', 40) FROM app.runs;
INSERT INTO app.run_setups (run_id, retry, setup_sha256, layer_sha256, provider, outcome, wall_ms)
    SELECT id, 0, repeat('0', 64), repeat('0', 64), 'mock', 'simulated', 0 FROM app.runs;
INSERT INTO app.notification_receivers (name, events, remind_before) VALUES ('r', '{}', '1 minute');
INSERT INTO app.notification_deliveries (event_id, receiver) SELECT id, 'r' FROM app.notification_events;
INSERT INTO app.base_files (run_id, path) SELECT id, 'a' FROM app.runs;
INSERT INTO app.push_requests (run_id, remote, branch) SELECT id, '/a', 'b' FROM app.runs;
INSERT INTO app.run_pushes (run_id, state, error) SELECT id, 'failed', 'e' FROM app.runs;
INSERT INTO app.passed_deadlines (run_id, gate_key, number, deadline_at, decided_at, reopened_by, reason)
    SELECT run_id, gate_key, 1, now(), now(), 'po', '' FROM app.human_gates;
INSERT INTO app.run_assignments (run_id, number, people, groups, reason, assigned_by, channel)
    SELECT id, 1, '{ann}', '{}', '', 'po', 'api' FROM app.runs;
INSERT INTO app.gate_answers (run_id, gate_key, answered_by) SELECT run_id, gate_key, 'po' FROM app.human_gates;
INSERT INTO app.plan_versions (run_id, version, plan, plan_sha256, based_on_sha256, edited_by)
    SELECT run_id, 2, '{}', plan_sha256, plan_sha256, 'po' FROM app.human_gates;
INSERT INTO app.worker_deaths (segment_workflow_id, executor_id, subject, progress, is_counted)
    SELECT workflow_id, 'host-1-abcdef', workflow_id, 1, true FROM app.runs;
INSERT INTO app.version_adoptions (old_version, new_version, adopted_by, channel, reason)
    VALUES ('v1', 'v2', 'po', 'cli', '');
INSERT INTO app.mock_receipts (receipt_key, run_id, step_id, payload_hash, first_attempt, last_attempt, seen_count)
    SELECT task_key, run_id, step_id, task_key, 1, 1, 2 FROM app.sbx_runs;
"""

# The statement that moved a run in release 0.1.0.
_MOVE_0_1_0 = """-- Change a run's status. The trigger refuses what the state machine does not know.
UPDATE app.runs
SET status = %(status)s, error = %(error)s, next_action = %(next_action)s,
    segment = segment + %(segments)s, retry_count = retry_count + %(retries)s,
    dagster_run_id = CASE WHEN %(retries)s > 0 THEN NULL ELSE dagster_run_id END,
    requested_at = CASE WHEN %(retries)s + %(segments)s > 0 THEN NULL ELSE requested_at END
WHERE id = %(id)s AND status = %(current)s
RETURNING *"""


@pytest.fixture
def ledgers(dependencies: Dependencies) -> Database:
    """A database with a row in every ledger."""
    life = Life(dependencies, files=FILES, patches=PATCHES, tests=["t"], testCommand="run")
    life.plan()
    life.wait()
    life.say(Decision.APPROVED)
    with dependencies.database.connect() as connection:
        runs.move(connection, life.run, RunStatus.RUNNING)
    life.decide()
    life.execute(ended())
    with dependencies.database.connect() as connection:
        connection.execute(_ROWS)
    return dependencies.database


def _is_refused(connection: Connection, statement: sql.Composed) -> bool:
    """Whether a statement is refused; what it changed is rolled back."""
    try:
        with connection.transaction(force_rollback=True):
            assert connection.execute(statement).rowcount != 0, "there was nothing to change"
    except psycopg.errors.RestrictViolation:
        return True
    return False


def test_every_table_is_a_ledger_or_not(database: Database) -> None:
    with database.connect() as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'app'")
        assert {row["tablename"] for row in rows} == LEDGERS.keys() | OTHERS


@pytest.mark.parametrize("table", LEDGERS)
def test_a_ledger_keeps_its_rows_and_all_columns_but_the_named_ones(ledgers: Database, table: str) -> None:
    name = sql.Identifier("app", table)
    change = sql.SQL("UPDATE {table} SET {column} = {column}")
    with ledgers.connect() as connection:
        columns = connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND attgenerated = ''",
            [f"app.{table}"],
        ).fetchall()
        changeable = {
            row["attname"]
            for row in columns
            if not _is_refused(connection, change.format(table=name, column=sql.Identifier(row["attname"])))
        }
        assert changeable == LEDGERS[table]
        for statement in ("DELETE FROM {}", "TRUNCATE {} CASCADE"):
            assert _is_refused(connection, sql.SQL(statement).format(name)), statement


@pytest.mark.parametrize("column", ["plan_sha256", "signature"])
def test_what_a_decision_is_about_and_its_signature_are_set_once(ledgers: Database, column: str) -> None:
    change = sql.SQL("UPDATE app.plan_approvals SET {} = repeat({}, 64)")
    with ledgers.connect() as connection:
        if column == "signature":
            connection.execute(change.format(sql.Identifier(column), "0"))
        assert _is_refused(connection, change.format(sql.Identifier(column), "1"))


@pytest.mark.parametrize("column", ["seen_count", "request_count"])
def test_the_counts_of_a_receipt_never_shrink(ledgers: Database, column: str) -> None:
    change = sql.SQL("UPDATE app.mock_receipts SET {0} = {0} + {1}")
    with ledgers.connect() as connection:
        assert not _is_refused(connection, change.format(sql.Identifier(column), 1))
        assert _is_refused(connection, change.format(sql.Identifier(column), -1))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE app.runs SET status = 'running'",
        "update only app.runs as r set (error, status) = ('e', 'running')",
        "INSERT INTO app.runs SELECT * FROM app.runs ON CONFLICT (id) DO UPDATE SET status = 'running'",
        "MERGE INTO app.runs r USING app.runs s ON r.id = s.id WHEN MATCHED THEN UPDATE SET status = 'running'",
    ],
)
def test_a_status_is_changed_by_the_transition_function_only(clean_database: Database, statement: str) -> None:
    with clean_database.connect() as connection:
        a_run(connection)
        with pytest.raises(psycopg.errors.RestrictViolation, match=r"only app\.move_run changes a status"):
            connection.execute(statement)


def test_a_run_starts_queued(clean_database: Database) -> None:
    with clean_database.connect() as connection:
        a_run(connection)
        with pytest.raises(psycopg.errors.RestrictViolation, match="a run starts queued, not succeeded"):
            connection.execute(
                "INSERT INTO app.runs (id, intent_id, workflow_id, status, recipe_id, recipe_version, recipe_hash, "
                "queue_partition_key) SELECT 'run_' || repeat('0', 32), intent_id, workflow_id, 'succeeded', "
                "recipe_id, recipe_version, recipe_hash, queue_partition_key FROM app.runs"
            )


def test_the_transition_function_allows_no_other_change_in_its_transaction(clean_database: Database) -> None:
    with clean_database.connect() as connection:
        run, other = (a_run(connection, an_intent(goal)) for goal in ("this", "other"))
        moved = runs.move(connection, run, RunStatus.RUNNING)
        for changed in (moved, other):
            with pytest.raises(psycopg.errors.RestrictViolation), connection.transaction():
                connection.execute("UPDATE app.runs SET status = 'failed' WHERE id = %s", [changed.id])
        refused = "SELECT * FROM app.move_run(%s, 'running', 'queued', NULL, NULL, 0, 0)"
        with (
            pytest.raises(psycopg.errors.CheckViolation, match="it cannot become queued"),
            connection.transaction(),
        ):
            connection.execute(refused, [run.id])
        assert connection.execute("SELECT current_setting('sisu.move') AS setting").fetchall() == [{"setting": ""}]


def test_the_statement_of_release_0_1_0_still_moves_a_run(clean_database: Database) -> None:
    # Its processes run beside newer ones during a rolling upgrade.
    parameters = {"error": None, "next_action": None, "segments": 0, "retries": 0}
    with clean_database.connect() as connection:
        run = a_run(connection)
        moves = {"current": run.status, "status": RunStatus.RUNNING, "id": run.id}
        connection.execute(_MOVE_0_1_0, parameters | moves)
        assert runs.get(connection, run.id).status is RunStatus.RUNNING
        with pytest.raises(psycopg.errors.CheckViolation, match="it cannot become queued"):
            connection.execute(_MOVE_0_1_0, parameters | moves | {"current": "running", "status": "queued"})
