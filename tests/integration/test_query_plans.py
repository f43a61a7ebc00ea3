"""On 100,000 finished runs, no statement of a run's life, of a sensor or of the inbox scans a whole table."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import sql

from resources import migrations
from resources.database import DATABASE, Connection, Database
from sisu_pipeline.contracts.configuration.queue_settings import StartLimit
from sisu_pipeline.contracts.gate import Decision
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store import deadlines, human_gates, interactions, runs, steps, tasks
from sisu_pipeline.store.outputs import artifacts, pushes, task_output
from sisu_pipeline.store.queues import notification_outbox, outbox, segments
from sisu_pipeline.store.review import open_gates
from sisu_pipeline.store.review.open_gates import Asked, GateFilter
from sisu_pipeline.supervisor.stack_setup import make_engine_schemas
from sisu_pipeline.workflow.dependencies import Dependencies
from tests.builders import a_run, an_intent
from tests.integration.life import FILES, PATCHES, Life, ended

ROWS = 100_000
FILLED = (
    "intents",
    "runs",
    "run_steps",
    "artifacts",
    "sbx_runs",
    "sbx_attempts",
    "human_gates",
    "human_interactions",
    "plan_approvals",
    "patch_history",
    "push_requests",
    "notification_events",
)

# A copy of a table's first row for each number, as the row of another finished run.
_COPY = """
INSERT INTO app.{table} ({columns}) SELECT {values} FROM generate_series(1, %(rows)s) AS n
CROSS JOIN (SELECT * FROM app.{table} LIMIT 1) AS first
"""
_COLUMNS = """
SELECT attname FROM pg_attribute
WHERE attrelid = ('app.' || %s)::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
"""
_FINISHED_PUSH = """
INSERT INTO app.push_requests (run_id, remote, branch, attempts, finished_at)
SELECT id, '/a', 'sisu/a', 1, now() FROM app.runs
"""
_RUN = "'run_' || md5(n::text)"
_INTENT = "'ih_' || md5(n::text) || md5(n::text)"
_RUN_TIME = "now() - n * interval '1 minute'"
_CHANGES = {
    "intents": {"id": _INTENT},
    "runs": {
        "id": _RUN,
        "intent_id": _INTENT,
        "workflow_id": _INTENT,
        "created_at": _RUN_TIME,
        "updated_at": _RUN_TIME,
    },
    "notification_events": {"run_id": _RUN, "id": "'ntf_' || md5(n::text)"},
    "artifacts": {"run_id": _RUN, "uri": "'artifact://' || n"},
    "plan_approvals": {"run_id": _RUN, "reported_at": "now()"},
    "sbx_runs": {"run_id": _RUN, "task_key": "md5(n::text) || md5(n::text)"},
}
"""The columns whose values differ from row to row; of other tables, that of the run."""

Executed = tuple[str, Mapping[str, Any] | None]


@pytest.fixture(scope="module")
def filled(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database of its own with the rows of many finished runs, and with the tables of Dagster and DBOS."""
    own = Database(database.url.replace(f"/{DATABASE}?", "/query_plans?", 1))
    migrations.create_database(own)
    migrations.migrate(own)
    make_engine_schemas(own)
    yield own
    with database.connect(autocommit=True) as connection:
        connection.execute("DROP DATABASE query_plans WITH (FORCE)")


@pytest.fixture
def large(filled: Database, dependencies: Dependencies) -> Dependencies:
    """Dependencies on the filled database."""
    own = replace(dependencies, database=filled)
    life = Life(own, tests=["a"], files=FILES, patches=PATCHES)
    _live(life)
    with filled.connect() as connection:
        connection.execute(_FINISHED_PUSH)
        connection.execute("SET LOCAL session_replication_role = replica")
        for table in FILLED:
            changes = _CHANGES.get(table, {"run_id": _RUN})
            names = [row["attname"] for row in connection.execute(_COLUMNS, [table])]
            assert changes.keys() <= set(names)
            statement = sql.SQL(_COPY).format(
                table=sql.Identifier(table),
                columns=sql.SQL(", ").join(map(sql.Identifier, names)),
                values=sql.SQL(", ").join(
                    sql.SQL(changes[name]) if name in changes else sql.Identifier("first", name) for name in names
                ),
            )
            connection.execute(statement, {"rows": ROWS})
    with filled.connect(autocommit=True) as connection:
        connection.execute("ANALYZE")
    return own


def _live(life: Life) -> None:
    """The whole life of a run: plan, patch, decision, tasks, end."""
    life.plan()
    life.say(Decision.APPROVED)
    life.decide()
    life.execute(ended())


@contextmanager
def recorded() -> Iterator[list[Executed]]:
    """Every statement that psycopg executes meanwhile, with its parameters."""
    executed: list[Executed] = []
    execute = psycopg.Cursor.execute

    def record(self: Any, query: Any, params: Any = None, **options: Any) -> Any:
        executed.append((query, params))
        return execute(self, query, params, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg.Cursor, "execute", record)
        yield executed


def _read(connection: Connection, life: Life) -> None:
    """What sensors, recovery, the inbox and a run's page read."""
    outbox.unrequested(connection, 100)
    outbox.unrequested(connection, 100, StartLimit(2, 60))
    outbox.decided(connection, 100)
    outbox.decided_on(connection, [life.run_id], 100)
    outbox.to_clean_up(connection, 100)
    outbox.canceled_lately(connection)
    outbox.mark_requested(connection, [life.id])
    outbox.mark_started(connection, [life.id])
    outbox.mark_reported(connection, [life.run_id])
    segments.lost(connection)
    segments.unclaimed(connection)
    segments.orphaned(connection)
    segments.removed(connection)
    runs.timed_out(connection, 100)
    deadlines.due(connection, 100)
    deadlines.take_escalations(connection, 8, 20)
    deadlines.last_refusal(connection)
    pushes.take(connection)
    pushes.due_remotes(connection)
    pushes.of_run(connection, life.run_id)
    notification_outbox.remind(connection)
    notification_outbox.due_receivers(connection)
    notification_outbox.take(connection, "ops")
    notification_outbox.states(connection)
    human_gates.waiting(connection, 100)
    open_gates.matching(connection, GateFilter(search="tests pass"), 50)
    open_gates.matching(connection, GateFilter(asked=Asked.ME, person="ann"), 50)
    runs.active(connection, 50)
    runs.finished(connection, 50)
    runs.page(connection, limit=50)
    runs.page(connection, limit=50, before=life.run_id, status=RunStatus.SUCCEEDED)
    runs.claim(connection, life.id, "11111111-1111-1111-1111-111111111111")
    steps.of_run(connection, life.run_id)
    tasks.progress(connection, life.run_id)
    tasks.durations(connection, life.run_id)
    interactions.of_run(connection, life.run_id, 100)
    card = artifacts.of_run(connection, life.run_id, 100)[0]
    artifacts.by_uri(connection, card.uri)
    task_output.after(connection, life.run_id, 0)


def whole_scans(plan: dict[str, Any], sizes: Mapping[str, float], is_limited: bool = False) -> list[str]:
    """The nodes of a plan that read a large table from end to end, or expect to read more than half of it.

    An index scan below a limit stops early, unless a node in between needs all rows.
    """
    table = plan.get("Relation Name", "") if plan.get("Schema") == "app" else ""
    node = plan["Node Type"]
    whole = node == "Seq Scan" or (plan["Plan Rows"] > ROWS / 2 and not is_limited)
    found = [f"{node} on {table}"] if sizes.get(table, 0) >= ROWS and whole else []
    below = (is_limited or node == "Limit") and node not in ("Sort", "Hash", "Aggregate", "Materialize")
    return found + [scan for part in plan.get("Plans", []) for scan in whole_scans(part, sizes, below)]


def _plan(connection: Connection, executed: Executed) -> dict[str, Any]:
    text, parameters = executed
    row = connection.execute("EXPLAIN (VERBOSE, FORMAT JSON) " + text, parameters).fetchone()
    assert row is not None
    plan: dict[str, Any] = row["QUERY PLAN"][0]["Plan"]
    return plan


def test_no_statement_of_the_hot_path_scans_a_whole_large_table(large: Dependencies) -> None:
    life = Life(large, tests=["a"], files=FILES, patches=PATCHES, attempt=2)
    with recorded() as executed:
        with large.database.connect() as connection:
            a_run(connection, an_intent("A third"))
        _live(life)
        with large.database.connect() as connection:
            _read(connection, life)
    statements = {text: (text, parameters) for text, parameters in executed if isinstance(text, str)}
    explained = [each for each in statements.values() if each[0].lstrip("- ").split()[0] not in ("COPY", "SET")]
    assert len(explained) > 50
    with large.database.connect() as connection:
        sizes = {
            row["relname"]: row["reltuples"]
            for row in connection.execute(
                "SELECT relname, reltuples FROM pg_class WHERE relnamespace = 'app'::regnamespace AND relkind = 'r'"
            )
        }
        assert {table for table, rows in sizes.items() if rows >= ROWS} == set(FILLED)
        scans = {
            text[:200]: whole_scans(_plan(connection, (text, parameters)), sizes) for text, parameters in explained
        }
        assert {text: found for text, found in scans.items() if found} == {}
        unindexed = _plan(connection, ("SELECT * FROM app.runs WHERE error = 'x'", None))
        assert whole_scans(unindexed, sizes) == ["Seq Scan on runs"]
