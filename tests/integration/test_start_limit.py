"""The start of intents: partitions in turn, and the limit of intents that start per period."""

import io
import json
from dataclasses import replace
from typing import Any

import httpx
from rich.console import Console

from resources.database import Connection, Database
from sisu_pipeline.api.views import gate_views, run_views
from sisu_pipeline.console import formatting
from sisu_pipeline.console.run_progress import render_progress
from sisu_pipeline.contracts.configuration.queue_settings import StartLimit
from sisu_pipeline.contracts.operation import OperationRequest
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store import runs
from sisu_pipeline.store.queues import outbox, partition_limits
from sisu_pipeline.store.runs import Run
from sisu_pipeline.workflow import commands
from sisu_pipeline.workflow.dependencies import Dependencies
from tests.builders import a_run, an_intent
from tests.integration.api.conftest import serving

ANY = 1000
TWO = StartLimit(2, 600)
CLAUSE = "partition busy may start 2 intents in 600 s (INTENT_QUEUE_RATE_LIMIT_PER_PERIOD)"


def queued(database: Database, *partitions: str, **request: int) -> list[Run]:
    """One queued run per name of a partition, the oldest first: each in a transaction of its own."""
    found = []
    for number, partition in enumerate(partitions):
        with database.connect() as connection:
            intent = an_intent(f"{partition} {number} {request}")
            found.append(a_run(connection, intent, queuePartitionKey=partition, **request))
    return found


def to_start(connection: Connection, limit: StartLimit | None = None, most: int = ANY) -> list[str]:
    return [run.id for run in outbox.unrequested(connection, most, limit)]


def start(connection: Connection, *started: Run) -> None:
    """What the sensor and the launcher do."""
    outbox.mark_started(connection, [run.workflow_id for run in started])
    for run in started:
        runs.claim(connection, run.workflow_id, f"dagster {run.id}")


def test_partitions_take_turns_and_the_most_urgent_run_of_each_is_first(clean_database: Database) -> None:
    flood = queued(clean_database, *["busy"] * 30, priority=5)
    (quiet,) = queued(clean_database, "quiet", priority=1000)
    (urgent,) = queued(clean_database, "busy", priority=4)
    with clean_database.connect() as connection:
        found = to_start(connection)
        assert found == [urgent.id, quiet.id, *(run.id for run in flood)]
        assert to_start(connection, most=5) == found[:5]


def test_a_limit_counts_intents_and_holds_none_of_another_partition(clean_database: Database) -> None:
    busy = queued(clean_database, *["busy"] * 4)
    (quiet,) = queued(clean_database, "quiet")
    with clean_database.connect() as connection:
        assert set(to_start(connection, TWO)) == {busy[0].id, busy[1].id, quiet.id}
        start(connection, busy[0], busy[1])
        assert to_start(connection, TWO) == [quiet.id]
        assert len(to_start(connection)) == 3
        # A decision counts nothing: what is behind a gate was started before.
        outbox.mark_requested(connection, [busy[0].workflow_id])
        assert set(to_start(connection, StartLimit(3, 600))) == {busy[2].id, quiet.id}
        connection.execute(
            "UPDATE app.runs SET started_at = started_at - interval '601 s' WHERE id = %s", [busy[0].id]
        )
        assert set(to_start(connection, TWO)) == {busy[2].id, quiet.id}


def test_a_retry_and_a_repeated_request_do_not_count_as_starts(clean_database: Database) -> None:
    first, second, third = queued(clean_database, *["busy"] * 3)
    with clean_database.connect() as connection:
        start(connection, first)
        failed = runs.move(connection, runs.lock(connection, first.id), RunStatus.RUNNING)
        runs.move(connection, failed, RunStatus.FAILED, error="boom", next_action="REPAIR")
        commands.retry(connection, first.id, OperationRequest(actor="ann", reason="again"))
        outbox.mark_started(connection, [second.workflow_id])
        # The daemon died before it launched the second one.
        connection.execute("UPDATE app.runs SET requested_at = now() - interval '1 minute'")
        assert to_start(connection, TWO) == [first.id, second.id]
        assert third.id in to_start(connection)


def test_a_run_that_the_limit_holds_says_so_until_it_starts(clean_database: Database) -> None:
    first, second, third = queued(clean_database, *["busy"] * 3)
    (quiet,) = queued(clean_database, "quiet")
    with clean_database.connect() as connection:
        start(connection, first)
        assert partition_limits.waited_for(connection, third.id, TWO) is None
        start(connection, second)
        assert partition_limits.waited_for(connection, third.id, TWO) == CLAUSE
        assert run_views.run_view(connection, third.id, TWO).waits_for == CLAUSE
        assert run_views.run_progress(connection, third.id, TWO).waits_for == CLAUSE
        shown = {run.run_id: run.waits_for for run in gate_views.inbox(connection, TWO).active}
        assert shown == {first.id: None, second.id: None, third.id: CLAUSE, quiet.id: None}
        assert run_views.run_view(connection, third.id).waits_for is None
        start(connection, third)
        assert run_views.run_view(connection, third.id, TWO).waits_for is None


def test_every_reader_of_a_held_run_is_told_the_limit(dependencies: Dependencies) -> None:
    first, second, third = queued(dependencies.database, *["busy"] * 3)
    with dependencies.database.connect() as connection:
        start(connection, first, second)
    with serving(replace(dependencies, start_limit=TWO)) as api, httpx.Client(base_url=api.url) as client:
        view = client.get(f"/runs/{third.id}").json()
        active = {run["runId"]: run.get("waitsFor") for run in client.get("/inbox").json()["active"]}
        events = [first_event(client, f"/runs/{third.id}/events")["waitsFor"]]
        events += [
            run["waitsFor"] for run in first_event(client, "/inbox/events")["active"] if run["runId"] == third.id
        ]
    assert view["waitsFor"] == CLAUSE
    assert active == {first.id: None, second.id: None, third.id: CLAUSE}
    assert events == [CLAUSE, CLAUSE]
    assert f"waits for a limit: {CLAUSE}" in formatting.progress(view)
    assert f"waits for a limit  {CLAUSE}" in formatting.run(view)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(render_progress(view))
    assert f"waits for a limit: {CLAUSE}" in console.export_text()


def first_event(client: httpx.Client, path: str) -> dict[str, Any]:
    """The data of the first event of a stream."""
    with client.stream("GET", path) as stream:
        line = next(line for line in stream.iter_lines() if line.startswith("data: "))
    event: dict[str, Any] = json.loads(line.removeprefix("data: "))
    return event
