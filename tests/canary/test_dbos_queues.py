"""DBOS: the patched read of a queue's limits, the members of its instance, and the batch insert."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from dbos import DBOS, DBOSClient, Queue
from dbos._core import ActiveWorkflowById
from dbos._dbos import _get_dbos_instance
from dbos._enqueue_options import build_enqueue_status
from dbos._serialization import DefaultSerializer

from resources.database import Database
from sisu_pipeline.queueing import dbos_queues

QUEUE = "canaryQ"


class Calls:
    """A function that counts its calls and remembers their last result."""

    def __init__(self, function: Callable[..., Queue | None]) -> None:
        self._function = function
        self.count = 0
        self.last: Queue | None = None

    def __call__(self, *arguments: Any, **options: Any) -> Queue | None:
        self.count += 1
        self.last = self._function(*arguments, **options)
        return self.last


@pytest.fixture
def client(engines: Database) -> Iterator[DBOSClient]:
    opened = DBOSClient(
        system_database_url=engines.sqlalchemy_url("psycopg"),
        dbos_system_schema=dbos_queues.SCHEMA,
        application_name=dbos_queues.APPLICATION,
    )
    yield opened
    opened.destroy()


@pytest.fixture
def worker(engines: Database, client: DBOSClient) -> Iterator[DBOS]:
    """DBOS as a worker starts it, with one queue polled as ours are."""
    register(client, 7)
    DBOS(
        config={
            "name": dbos_queues.APPLICATION,
            "system_database_url": engines.sqlalchemy_url("psycopg"),
            "dbos_system_schema": dbos_queues.SCHEMA,
            "executor_id": "canary",
            "log_level": "ERROR",
            "run_migrations": False,
        }
    )
    DBOS.listen_queues([QUEUE])
    DBOS.launch()
    yield _get_dbos_instance()
    DBOS.destroy(destroy_registry=True)


def register(client: DBOSClient, concurrency: int) -> None:
    client.register_queue(
        QUEUE,
        partition_concurrency=concurrency,
        polling_interval_sec=dbos_queues.POLL_SECONDS,
        on_conflict="always_update",
    )


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def counted(worker: DBOS) -> Iterator[Calls]:
    """Count the calls of `get_queue` on the instance."""
    system_database = worker._sys_db
    calls = Calls(system_database.get_queue)
    system_database.get_queue = calls  # type: ignore[method-assign]
    yield calls


def test_the_queue_thread_reads_its_limits_at_every_poll_through_the_instances_attribute(worker: DBOS) -> None:
    with counted(worker) as calls:
        until(lambda: calls.count >= 10)
    assert calls.last is not None and calls.last.name == QUEUE


def test_the_patch_lowers_the_reads_to_one_a_second_while_the_thread_polls_on(worker: DBOS) -> None:
    with counted(worker) as reads:
        dbos_queues.cache_limits()
        with counted(worker) as polls:
            started, read_before = time.monotonic(), reads.count
            until(lambda: polls.count >= 30)
            seconds = time.monotonic() - started
    assert reads.count - read_before <= seconds + 1


def test_a_change_of_the_limits_reaches_the_patched_thread(worker: DBOS, client: DBOSClient) -> None:
    dbos_queues.cache_limits(seconds=0.2)
    with counted(worker) as polls:
        until(lambda: polls.last is not None and polls.last._partition_concurrency == 7)
        register(client, 3)
        until(lambda: polls.last is not None and polls.last._partition_concurrency == 3)


def test_the_instance_has_the_members_that_the_queues_use(worker: DBOS) -> None:
    assert worker._sys_db.engine.pool is not None
    assert isinstance(worker._active_workflows_set, ActiveWorkflowById)
    assert dbos_queues.executing() == []
    assert worker.background_thread_stop_events
    assert not any(event.is_set() for event in worker.background_thread_stop_events)


def test_a_workflow_that_executes_is_listed_by_its_id(worker: DBOS) -> None:
    worker._active_workflows_set.add("one", QUEUE, None)
    assert dbos_queues.executing() == ["one"]


def test_setting_the_stop_events_stops_the_polls(worker: DBOS) -> None:
    with counted(worker) as polls:
        until(lambda: polls.count > 0)
        for event in worker.background_thread_stop_events:
            event.set()
        time.sleep(4 * dbos_queues.POLL_SECONDS)
        stopped = polls.count
        time.sleep(4 * dbos_queues.POLL_SECONDS)
    assert polls.count == stopped


def test_the_batch_insert_stores_each_status_once_and_leaves_an_existing_one_as_it_is(
    engines: Database, client: DBOSClient
) -> None:
    _, status = build_enqueue_status(
        {"queue_name": "idleQ", "workflow_name": "w", "workflow_id": "batch-1", "app_version": "v1"},
        DefaultSerializer(),
        ("a", 1),
        {},
    )
    for _ in range(2):
        client._sys_db.init_workflows([status])
    with engines.connect() as connection:
        rows = connection.execute(
            "SELECT status, queue_name, name, application_version FROM dbos.workflow_status "
            "WHERE workflow_uuid = 'batch-1'"
        ).fetchall()
    assert [tuple(row.values()) for row in rows] == [("ENQUEUED", "idleQ", "w", "v1")]


def test_requeueing_returns_a_workflow_of_the_named_executor_to_its_queue(
    engines: Database, client: DBOSClient
) -> None:
    _, status = build_enqueue_status(
        {"queue_name": "idleQ", "workflow_name": "w", "workflow_id": "held-1"}, DefaultSerializer(), (), {}
    )
    client._sys_db.init_workflows([status])
    with engines.connect() as connection:
        connection.execute(
            "UPDATE dbos.workflow_status SET status = 'PENDING', executor_id = 'dead' "
            "WHERE workflow_uuid = 'held-1'"
        )
    assert not client._sys_db.reenqueue_for_recovery("held-1", ["another"], "controlQ")
    assert client._sys_db.reenqueue_for_recovery("held-1", ["dead"], "controlQ")
    with engines.connect() as connection:
        row = connection.execute(
            "SELECT status, queue_name FROM dbos.workflow_status WHERE workflow_uuid = 'held-1'"
        ).fetchone()
    assert row == {"status": "ENQUEUED", "queue_name": "idleQ"}
