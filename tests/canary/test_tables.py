"""The tables of Dagster and DBOS have the columns, states and tags that our SQL names."""

import re
import time

import pytest
from dagster import DagsterRunStatus
from dagster._core.storage.tags import PARTITION_NAME_TAG, RUN_KEY_TAG
from dagster._daemon.types import DaemonHeartbeat
from dbos._sys_db import WorkflowStatusString

from resources.database import Database
from sisu_pipeline.engine.dagster_storage import PooledPostgresStorage
from sisu_pipeline.settings import PROJECT_ROOT
from sql import query
from tests.canary.private_api import tables

COLUMNS = {
    "dagster.daemon_heartbeats": {"body": "text", "daemon_type": "character varying"},
    "dagster.instigators": {
        "instigator_body": "text",
        "instigator_type": "character varying",
        "status": "character varying",
    },
    "dagster.run_tags": {"id": "bigint", "key": "text", "run_id": "character varying", "value": "text"},
    "dagster.runs": {
        "id": "bigint",
        "pipeline_name": "text",
        "run_id": "character varying",
        "status": "character varying",
    },
    "dbos.application_versions": {"version_name": "text"},
    "dbos.queues": {
        "name": "text",
        "partition_concurrency": "integer",
        "partition_rate_limit_max": "integer",
        "partition_rate_limit_period_sec": "double precision",
    },
    "dbos.workflow_status": {
        "application_version": "text",
        "created_at": "bigint",
        "error": "text",
        "executor_id": "text",
        "name": "text",
        "parent_workflow_id": "text",
        "queue_name": "text",
        "queue_partition_key": "text",
        "rate_limited": "boolean",
        "started_at_epoch_ms": "bigint",
        "status": "text",
        "updated_at": "bigint",
        "workflow_uuid": "text",
    },
}
"""Columns of a table that occur as words in statements naming it, with their types: at least those in use."""

DAGSTER_STATES = {"CANCELED", "FAILURE", "NOT_STARTED", "QUEUED", "STARTED", "STARTING", "SUCCESS", "SUSPENDED"}
DBOS_STATES = {"CANCELLED", "DELAYED", "ENQUEUED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED", "PENDING", "SUCCESS"}


def statements() -> list[str]:
    """Every statement of the SQL files, without comments."""
    texts = [path.read_text() for path in sorted((PROJECT_ROOT / "sql").rglob("*.sql"))]
    parts = [part for text in texts for part in re.split(r"^-- \w+ --$", text, flags=re.MULTILINE)]
    return [re.sub(r"--.*", "", part) for part in parts]


def columns(database: Database, table: str) -> dict[str, str]:
    schema, name = table.split(".")
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = %s AND table_name = %s",
            [schema, name],
        ).fetchall()
    return {row["column_name"]: row["data_type"] for row in rows}


def test_the_columns_of_every_table_in_use_are_pinned() -> None:
    assert {use.symbol for use in tables()} == COLUMNS.keys()


@pytest.mark.parametrize("table", COLUMNS)
def test_a_table_has_the_columns_that_our_statements_name(engines: Database, table: str) -> None:
    texts = [re.sub(r"'[^']*'", "", text) for text in statements() if table in text]
    words = {word for text in texts for word in re.findall(r"\w+", text)}
    existing = columns(engines, table)
    assert {name: existing[name] for name in words & existing.keys()} == COLUMNS[table]


def test_our_statements_name_states_that_dagster_and_dbos_have() -> None:
    assert {status.value for status in DagsterRunStatus} >= DAGSTER_STATES
    assert {status.value for status in WorkflowStatusString} >= DBOS_STATES


def test_the_tags_that_our_statements_name_are_dagsters() -> None:
    named = {tag for text in statements() for tag in re.findall(r"'(dagster/\w+)'", text)}
    assert named == {PARTITION_NAME_TAG, RUN_KEY_TAG}


def test_a_heartbeat_holds_its_time_in_epoch_seconds_where_the_doctor_reads_it(
    engines: Database, storage: PooledPostgresStorage
) -> None:
    storage.run_storage.add_daemon_heartbeat(DaemonHeartbeat(time.time() - 100, "SENSOR", None, []))
    with engines.connect() as connection:
        (row,) = connection.execute(query("doctor.heartbeats")).fetchall()
    assert row["daemon_type"] == "SENSOR"
    assert 99 < row["seconds"] < 160
