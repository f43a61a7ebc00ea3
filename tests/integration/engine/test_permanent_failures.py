"""A statement that the database refuses for good: its intent fails once with a sentence and affects no other."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg import sql

from resources.database import Database
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store import runs
from tests.integration.engine.intents import Stage, until
from tests.integration.engine.lost_work import Search
from tests.integration.engine.workers import Nursery

VERSION = "v-permanent"
POISON = "poison"
SENTENCE = "the database refused a statement: index row size 8128 exceeds the maximum 2704 (SQLSTATE 54000)"
# psycopg calls an index entry that is too large an OperationalError, as it calls a lost connection.
_FUNCTION = """
CREATE FUNCTION public.refuse_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'index row size 8128 exceeds the maximum 2704' USING ERRCODE = '54000';
END $$"""


@contextmanager
def refusing(database: Database, schema: str, table: str, condition: sql.Composable) -> Iterator[None]:
    """Every insert into the table that meets the condition is refused like a row that no index can take."""
    on = sql.SQL("refused {} ON {}")
    name = sql.Identifier(schema, table)
    with database.connect() as connection:
        connection.execute(_FUNCTION)
        connection.execute(
            sql.SQL("CREATE TRIGGER {} FOR EACH ROW WHEN ({}) EXECUTE FUNCTION public.refuse_row()").format(
                on.format(sql.SQL("BEFORE INSERT"), name), condition
            )
        )
    try:
        yield
    finally:
        with database.connect() as connection:
            connection.execute(sql.SQL("DROP TRIGGER {}").format(on.format(sql.SQL(""), name)))
            connection.execute("DROP FUNCTION public.refuse_row()")


def test_a_result_that_cannot_be_stored_fails_its_run_once_and_its_batch_is_stored(
    stage: Stage, nursery: Nursery
) -> None:
    settings: dict[str, Any] = {"DBOS__APPVERSION": VERSION}
    is_poison = sql.SQL("NEW.request ->> 'cmd' LIKE 'poison%'")
    poison = stage.decided("poison", tests=["a"], command=POISON, version=VERSION)
    plain = stage.decided("plain", tests=[f"t{n}" for n in range(20)], command="run", version=VERSION)
    with (
        refusing(stage.dependencies.database, "app", "sbx_runs", is_poison),
        nursery.worker("intentQ", **settings),
        nursery.worker("sbxQ", **settings),
    ):
        for workflow_id in (poison, plain):
            stage.request(workflow_id)
        failed = stage.wait_for(poison, RunStatus.RETRIES_EXCEEDED)
        stage.wait_for(plain, RunStatus.SUCCEEDED)
    assert failed.error == f"task 0 could not be run or stored: {SENTENCE}"
    assert stage.value("SELECT count(*) FROM app.sbx_runs") == 20
    assert stage.value("SELECT max(seen_count) FROM app.mock_receipts") == 1
    requests = "SELECT request_count FROM app.mock_receipts WHERE run_id = %s"
    assert stage.value(requests, failed.id) == 1, "the command was executed again"


def test_a_segment_whose_events_cannot_be_stored_ends_its_intent_and_is_not_repeated(
    stage: Stage, nursery: Nursery
) -> None:
    workflow_id = stage.intent("events")
    is_event_of_a_step = sql.SQL("NEW.dagster_event_type = 'STEP_START'")
    with (
        refusing(stage.dependencies.database, "dagster", "event_logs", is_event_of_a_step),
        nursery.worker("intentQ"),
    ):
        dagster_run_id = stage.request(workflow_id)
        failed = stage.wait_for(workflow_id, RunStatus.RETRIES_EXCEEDED)
        until(lambda: stage.dagster_status(dagster_run_id) == "FAILURE")
    assert failed.error == f"its segment cannot be executed: {SENTENCE}"
    assert list(stage.queue()) == [workflow_id], "the segment was repeated"


def test_a_segment_that_cannot_be_enqueued_ends_its_run_and_delays_no_other(stage: Stage) -> None:
    first, second = stage.intent("first"), stage.intent("second")
    with stage.dependencies.database.connect() as connection:
        for workflow_id in (first, second):
            runs.claim(connection, workflow_id, stage.dagster_run(workflow_id))
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(
            "UPDATE app.runs SET updated_at = updated_at - CASE workflow_id WHEN %s THEN interval '2 minutes' "
            "ELSE interval '1 minute' END",
            [first],
        )
    is_first = sql.SQL("NEW.workflow_uuid = {}").format(sql.Literal(first))
    with refusing(stage.dependencies.database, "dbos", "workflow_status", is_first):
        assert Search(stage).resume_later() == [first, second]
    assert stage.queue() == {second: "ENQUEUED"}
    failed = stage.run(first)
    assert (failed.status, failed.error) == (RunStatus.RETRIES_EXCEEDED, f"cannot enqueue segment 1: {SENTENCE}")
