"""The queues as their workers serve them: by version, by partition and priority, within each limit's scope."""

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import httpx
import pytest
from psycopg import sql

from sisu_pipeline.contracts.intent import QueueName
from sisu_pipeline.domain.identity import run_id
from sisu_pipeline.queueing import dbos_queues, fan_out, segment_queue
from sisu_pipeline.queueing.segment_queue import Segment, SegmentRequest
from sisu_pipeline.settings import PROJECT_ROOT, child_environment, load_settings
from sisu_pipeline.store.queues import partition_limits, queue_depth
from tests.integration.api.conftest import serving
from tests.integration.engine.conftest import Engine
from tests.integration.engine.intents import Stage, until
from tests.integration.engine.workers import Nursery, wait_for_workers


def enqueue(stage: Stage, name: str, *, partition: str = "p", priority: int = 1, version: str = "v1") -> None:
    """A segment of a Dagster run that does not exist: a worker takes it and finds nothing to do."""
    segment_queue.enqueue(
        stage.dependencies.database,
        Segment(name, SegmentRequest(None, "no-such-run"), partition, priority, version),
    )


def all_done(stage: Stage, version: str, queue: str = "intentQ") -> bool:
    return not stage.value(
        "SELECT count(*) FROM dbos.workflow_status"
        " WHERE queue_name = %s AND application_version = %s AND status <> 'SUCCESS'",
        queue,
        version,
    )


def starting_order(stage: Stage) -> list[str]:
    """The workflows' ids in the order they were started: an intent worker starts one at a time."""
    rows = stage.rows("SELECT workflow_uuid FROM dbos.workflow_status ORDER BY started_at_epoch_ms, created_at")
    return [row["workflow_uuid"] for row in rows]


def came_at(stage: Stage, names: Iterable[str]) -> list[int]:
    """When each of these workflows came, in milliseconds. The queue promises no order within one."""
    rows = stage.rows("SELECT workflow_uuid, created_at FROM dbos.workflow_status")
    times = {row["workflow_uuid"]: int(row["created_at"]) for row in rows}
    return [times[name] for name in names]


def doctor(**variables: str) -> dict[str, Any]:
    """The report of `sisu doctor`, which fails: no API and no daemon run here."""
    command = [sys.executable, "-m", "sisu_pipeline.cli", "doctor", "--json"]
    environment = child_environment(**variables)
    ended = subprocess.run(command, cwd=PROJECT_ROOT, env=environment, capture_output=True, check=False)
    assert ended.returncode == 1
    report: dict[str, Any] = json.loads(ended.stdout)
    return report


def queue_of(report: dict[str, Any], version: str) -> dict[str, int]:
    """The numbers of a version's only queue in a report of `sisu doctor`."""
    (queue,) = [queue for queue in report["queues"] if queue["version"] == version]
    return {name: queue[name] for name in ("enqueued", "pending", "workers")}


def stranded_in_the_inbox(stage: Stage) -> list[dict[str, Any]]:
    """The stranded work that the API's inbox lists."""
    with serving(stage.dependencies) as api:
        found: list[dict[str, Any]] = httpx.get(f"{api.url}/inbox").json()["stranded"]
    return found


def test_a_worker_takes_no_work_of_another_version_and_health_reports_that_it_waits(
    engine: Engine, stage: Stage, nursery: Nursery
) -> None:
    enqueue(stage, "old work", version="v-old")
    enqueue(stage, "new work", version="v-new")
    with nursery.worker("intentQ", DBOS__APPVERSION="v-new"):
        until(lambda: all_done(stage, "v-new"))
        wait_for_workers(engine.database, "intentQ", "v-new")
        assert stage.queue() == {"old work": "ENQUEUED", "new work": "SUCCESS"}
        with stage.dependencies.database.connect() as connection:
            stranded = [state for state in queue_depth.queue_states(connection) if state.is_stranded]
        assert [(state.queue, state.version, state.enqueued) for state in stranded] == [("intentQ", "v-old", 1)]
        with serving(stage.dependencies) as api:
            depth = httpx.get(f"{api.url}/ops/queue-depth").json()
        waiting = {"appVersion": "v-old", "queueName": "intentQ", "enqueued": 1, "pending": 0}
        assert waiting in depth["versions"]
        assert queue_of(doctor(), "v-old") == {"enqueued": 1, "pending": 0, "workers": 0}
    with nursery.worker("intentQ", DBOS__APPVERSION="v-old"):
        until(lambda: all_done(stage, "v-old"))


@pytest.mark.parametrize("version", ["9ca80205b1d1f0c3a7e4d2b6f8a9c0e1d2f3a4b5", "v" * 200], ids=["git", "long"])
def test_work_of_a_version_too_long_for_a_connection_name_is_stranded_only_without_a_worker(
    engine: Engine, stage: Stage, nursery: Nursery, version: str
) -> None:
    with nursery.worker("intentQ", DBOS__APPVERSION=version) as group:
        wait_for_workers(engine.database, "intentQ", version)
        (process,) = group.processes
        os.kill(process, signal.SIGSTOP)  # so that the work stays enqueued
        enqueue(stage, "work", version=version)
        report = doctor(DBOS__APPVERSION=version)
        assert queue_of(report, version) == {"enqueued": 1, "pending": 0, "workers": 1}
        workers = {"name": "intentQ workers", "ok": True, "detail": f"1 of version {version}"}
        assert workers in report["checks"]
        assert stranded_in_the_inbox(stage) == []
    wait_for_workers(engine.database, "intentQ", version, count=0)
    assert queue_of(doctor(DBOS__APPVERSION=version), version) == {"enqueued": 1, "pending": 0, "workers": 0}
    assert stranded_in_the_inbox(stage) == [{"appVersion": version, "queueName": "intentQ", "enqueued": 1}]


def test_an_interactive_intent_starts_before_batch_intents_that_came_first(stage: Stage, nursery: Nursery) -> None:
    for number in range(3):
        enqueue(stage, f"batch {number}", priority=1000, version="v-lanes")
    enqueue(stage, "interactive", priority=1, version="v-lanes")
    with nursery.worker("intentQ", DBOS__APPVERSION="v-lanes"):
        until(lambda: all_done(stage, "v-lanes"))
    first, *others = starting_order(stage)
    assert first == "interactive"
    assert came_at(stage, others) == sorted(came_at(stage, others))


def limit_of(stage: Stage, queue: str, column: str) -> int | None:
    """The limit in the row of a queue; None without one, or before a worker has registered the queue."""
    rows = stage.rows("SELECT to_jsonb(q) AS limits FROM dbos.queues q WHERE name = %s", queue)
    found: int | None = rows[0]["limits"][column] if rows else None
    return found


@pytest.mark.parametrize(("setting", "workers", "most"), [("50", 4, 50), ("50", 5, 4), ("3", 10, 3), ("0", 10, 8)])
def test_a_fifth_of_the_intent_workers_is_left_to_other_partitions(
    stage: Stage, limits: None, setting: str, workers: int, most: int
) -> None:
    settings = load_settings({"INTENT_QUEUE_CONCURRENCY": setting})
    dbos_queues.register(stage.dependencies.database, QueueName.INTENT, settings, workers)
    assert limit_of(stage, "intentQ", "partition_concurrency") == most


@pytest.mark.parametrize(
    ("most", "places", "share"), [("50", "10", 9), ("0", "10", 9), ("2", "200", 2), ("9", "9", 9), ("1", "1", 1)]
)
def test_a_partition_has_at_most_its_share_of_the_places_of_a_worker(
    stage: Stage, limits: None, most: str, places: str, share: int
) -> None:
    settings = load_settings({"SBX_QUEUE_CONCURRENCY": most, "SBX_QUEUE_WORKER_CONCURRENCY": places})
    dbos_queues.register(stage.dependencies.database, QueueName.SANDBOX, settings)
    assert limit_of(stage, "sbxQ", "partition_worker_concurrency") == share
    assert limit_of(stage, "sbxQ", "partition_concurrency") == (int(most) or None)


def test_workers_count_each_other_when_they_write_the_limits(stage: Stage, nursery: Nursery, limits: None) -> None:
    counted = {"INTENT_QUEUE_CONCURRENCY": "50", "DBOS__APPVERSION": "v-five"}
    with nursery.worker("intentQ", processes=5, **counted):
        until(lambda: limit_of(stage, "intentQ", "partition_concurrency") == 4, "the workers were not counted")


def test_a_tenth_of_a_sandbox_workers_places_is_left_to_other_partitions(
    stage: Stage, nursery: Nursery, limits: None
) -> None:
    for partition, count in (("long", 10), ("other", 1)):
        tests = [f"{partition}{number}" for number in range(count)]
        run = stage.decided(
            partition, tests=tests, command="sleep 600", version="v-places", queuePartitionKey=partition
        )
        fan_out.start(stage.dependencies, run)
    executing = "SELECT queue_partition_key AS key, count(*) AS n FROM dbos.workflow_status"
    with nursery.worker("sbxQ", DBOS__APPVERSION="v-places", SBX_QUEUE_WORKER_CONCURRENCY="10"):
        until(
            lambda: (
                {row["key"]: row["n"] for row in stage.rows(f"{executing} WHERE status = 'PENDING' GROUP BY 1")}
                == {"long": 9, "other": 1}
            )
        )


@pytest.mark.parametrize("concurrency", ["50", "0"])
def test_the_backlog_of_a_partition_does_not_delay_another_partition(
    stage: Stage, nursery: Nursery, limits: None, concurrency: str
) -> None:
    # Which partition comes first is drawn at every look, so the quiet one could be last by chance: one in a
    # million.
    backlog = 20
    for number in range(backlog):
        enqueue(stage, f"busy {number}", partition="busy", version="v-fair")
    enqueue(stage, "quiet", partition="quiet", version="v-fair")
    with nursery.worker("intentQ", DBOS__APPVERSION="v-fair", INTENT_QUEUE_CONCURRENCY=concurrency):
        until(lambda: all_done(stage, "v-fair"))
    order = starting_order(stage)
    assert order.index("quiet") < order.index(f"busy {backlog - 1}")
    busy = [name for name in order if name != "quiet"]
    assert came_at(stage, busy) == sorted(came_at(stage, busy))


@pytest.fixture
def limits(engine: Engine) -> Iterator[None]:
    """A worker writes its limits to the queue's row, for all workers: put back what was there."""
    with engine.database.connect() as connection:
        before = connection.execute("SELECT * FROM dbos.queues").fetchall()
    yield
    with engine.database.connect() as connection:
        for row in before:
            names = [name for name in row if name != "name"]
            changes = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in names)
            statement = sql.SQL("UPDATE dbos.queues SET {} WHERE name = %s").format(changes)
            connection.execute(statement, [*(row[name] for name in names), row["name"]])


def run_tasks(
    stage: Stage, nursery: Nursery, version: str, seconds: str, counts: dict[str, int], **limit: Any
) -> None:
    """So many tasks in each partition, each of so many seconds, on one worker process with these limits."""
    for partition, count in counts.items():
        tests = [f"{partition}{number}" for number in range(count)]
        workflow_id = stage.decided(
            f"{version} {partition}",
            tests=tests,
            command=f"sleep {seconds}",
            version=version,
            queuePartitionKey=partition,
        )
        fan_out.start(stage.dependencies, workflow_id)
    # The limits hold from the first task on: a worker writes them before it takes any.
    with nursery.worker("sbxQ", DBOS__APPVERSION=version, **limit):
        until(lambda: all_done(stage, version, "sbxQ"))


def most_at_once(stage: Stage, partition: str = "%") -> int:
    """The largest number of tasks of a partition the provider executed at one moment."""
    rows = stage.rows(
        "SELECT extract(epoch FROM m.started_at)::float AS start, m.duration_ms / 1000.0::float AS seconds"
        " FROM app.mock_receipts m JOIN app.runs r ON r.id = m.run_id WHERE r.queue_partition_key LIKE %s",
        partition,
    )
    moments = [(row["start"], 1) for row in rows] + [(row["start"] + row["seconds"], -1) for row in rows]
    return max(itertools.accumulate(change for _, change in sorted(moments)))


def test_concurrency_is_per_partition(stage: Stage, nursery: Nursery, limits: None) -> None:
    run_tasks(stage, nursery, "v-partition", "0.4", {"a": 4, "b": 4}, SBX_QUEUE_CONCURRENCY="2")
    assert most_at_once(stage, "a") == most_at_once(stage, "b") == 2
    assert most_at_once(stage) > 2


def test_worker_concurrency_is_per_process_over_all_partitions(
    stage: Stage, nursery: Nursery, limits: None
) -> None:
    run_tasks(stage, nursery, "v-process", "0.3", {"a": 4, "b": 4}, SBX_QUEUE_WORKER_CONCURRENCY="3")
    assert 2 <= most_at_once(stage) <= 3


def test_the_rate_limit_is_per_partition(stage: Stage, nursery: Nursery, limits: None) -> None:
    limit = {"SBX_QUEUE_RATE_LIMIT_PER_PERIOD": "2", "SBX_QUEUE_RATE_LIMIT_PERIOD_SEC": "2"}
    run_tasks(stage, nursery, "v-rate", "0", {"a": 3, "b": 2}, **limit)
    starts: dict[str, list[int]] = {"a": [], "b": []}
    for row in stage.rows(
        "SELECT * FROM dbos.workflow_status WHERE queue_name = 'sbxQ' ORDER BY started_at_epoch_ms"
    ):
        starts[row["queue_partition_key"]].append(row["started_at_epoch_ms"])
    assert starts["a"][2] - starts["a"][0] >= 2000
    assert starts["b"][1] < starts["a"][2]


def test_a_run_names_the_limit_that_its_segment_or_its_tasks_wait_for(
    stage: Stage, nursery: Nursery, limits: None
) -> None:
    version = "v-held"
    tasks = stage.decided("tasks", tests=["a", "b"], command="run", version=version, queuePartitionKey="busy")
    fan_out.start(stage.dependencies, tasks)
    limit: dict[str, Any] = {"SBX_QUEUE_RATE_LIMIT_PER_PERIOD": "1", "SBX_QUEUE_RATE_LIMIT_PERIOD_SEC": "600"}
    with nursery.worker("sbxQ", DBOS__APPVERSION=version, **limit):
        until(lambda: sorted(stage.queue("sbxQ").values()) == ["ENQUEUED", "SUCCESS"], "the limit does not hold")
    assert waited_for(stage, tasks) == (
        "partition busy may start 1 task in 600 s (SBX_QUEUE_RATE_LIMIT_PER_PERIOD)"
    )
    first, second, idle = (stage.intent(goal, queuePartitionKey=goal[:4]) for goal in ("same 1", "same 2", "idle"))
    for workflow_id in (first, second, idle):
        stage.request(workflow_id)
    settings = load_settings({"INTENT_QUEUE_CONCURRENCY": "1"})
    dbos_queues.register(stage.dependencies.database, QueueName.INTENT, settings)
    with stage.dependencies.database.connect() as connection:
        connection.execute("UPDATE dbos.workflow_status SET status = 'PENDING' WHERE workflow_uuid = %s", [first])
    assert waited_for(stage, first) is waited_for(stage, idle) is None
    assert waited_for(stage, second) == (
        "partition same may execute 1 segment at once (INTENT_QUEUE_CONCURRENCY, and four of five intent workers)"
    )


def waited_for(stage: Stage, workflow_id: str) -> str | None:
    with stage.dependencies.database.connect() as connection:
        return partition_limits.waited_for(connection, run_id(workflow_id), None)
