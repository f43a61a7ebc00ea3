"""GET /events: everything that a browser follows in one stream."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from resources.database import Database
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store import runs
from sisu_pipeline.store.outputs import task_output
from sisu_pipeline.store.outputs.task_output import Piece
from sisu_pipeline.store.runs import Run
from tests.builders import a_run, an_intent
from tests.integration.api.conftest import Api, Live, dependencies_over, serving
from tests.integration.api.test_events import Until

UNKNOWN = "run_" + "0" * 32

Event = tuple[str, dict[str, Any]]


@pytest.fixture
def pair(api: Api) -> tuple[Run, Run]:
    """Two queued runs."""
    with api.dependencies.database.connect() as connection:
        return a_run(connection, an_intent("one")), a_run(connection, an_intent("two"))


@contextmanager
def stream(live: Live, **wanted: str) -> Iterator[Iterator[Event]]:
    """The events of a stream, but for those that show that it is alive."""
    with (
        httpx.Client(base_url=live.url, timeout=20, verify=False) as client,
        client.stream("GET", "/events", params=wanted) as answer,
    ):
        assert answer.status_code == 200
        yield (each for each in _events(answer.iter_lines()) if each[0] != "alive")


def _events(lines: Iterator[str]) -> Iterator[Event]:
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def move(api: Api, run: Run, status: RunStatus) -> None:
    with api.dependencies.database.connect() as connection:
        runs.move(connection, runs.lock(connection, run.id), status)


def test_one_stream_has_the_events_of_the_inbox_of_runs_and_of_their_output(
    api: Api, pair: tuple[Run, Run], until: Until
) -> None:
    one, two = pair
    with stream(api, inbox="yes", runs=f"{one.id},{two.id}", output=one.id) as events:
        first = [next(events) for _ in range(3)]
        assert sorted(name for name, _ in first) == ["inbox", "run", "run"]
        assert {data["runId"] for name, data in first if name == "run"} == {one.id, two.id}
        until(lambda: api.state.feed.watcher_count == 4)
        with api.dependencies.database.connect() as connection:
            task_output.append(connection, [Piece(one.id, "k" * 64, 0, "stdout", "hello\n")])
        name, data = next(events)
        assert (name, data["runId"], data["chunk"]) == ("output", one.id, "hello\n")
        move(api, two, RunStatus.CANCELED)
        ended = [next(events) for _ in range(3)]
    assert ("end", {"kind": "run", "runId": two.id}) in ended
    assert ("run", "canceled") in [(name, data.get("status")) for name, data in ended]
    until(lambda: api.state.feed.watcher_count == 0)


def test_a_stream_of_runs_ends_when_the_last_has_ended_and_an_unknown_run_has(
    api: Api, pair: tuple[Run, Run]
) -> None:
    one, two = pair
    with stream(api, runs=f"{one.id},{two.id},{UNKNOWN},{two.id}", output=UNKNOWN) as events:
        before = [next(events) for _ in range(4)]
        for run in pair:
            move(api, run, RunStatus.CANCELED)
        after = list(events)
    ends = [(data["kind"], data["runId"]) for name, data in (*before, *after) if name == "end"]
    assert sorted(ends) == sorted([("run", UNKNOWN), ("output", UNKNOWN), ("run", one.id), ("run", two.id)])


def test_an_ended_run_that_is_executed_again_is_announced_once(
    api: Api, pair: tuple[Run, Run], until: Until
) -> None:
    failed, running = pair
    for status in (RunStatus.RUNNING, RunStatus.FAILED):
        move(api, failed, status)
    with stream(api, restarts=f"{failed.id},{running.id},{UNKNOWN}") as events:
        first = [next(events) for _ in range(3)]
        assert sorted((name, data["runId"]) for name, data in first) == sorted(
            [("restart", running.id), ("end", running.id), ("end", UNKNOWN)]
        )
        until(lambda: api.state.feed.watcher_count == 1)
        move(api, failed, RunStatus.REPAIRING)
        after = [(name, data.get("status")) for name, data in events]
    assert after == [("restart", "repairing"), ("end", None)]


@pytest.mark.parametrize(
    "query",
    ["", "inbox=no", "inbox=1", "runs=run_1", "runs=", "inbox=yes&follow=x", f"runs={UNKNOWN}&runs={UNKNOWN}"],
)
def test_a_query_without_parts_or_with_malformed_ones_is_a_400(api: Api, query: str) -> None:
    answer = api.get(f"/events?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_query")


def test_a_stream_that_its_server_closes_names_no_end_so_that_its_client_connects_again(
    database: Database, api: Api, pair: tuple[Run, Run], tmp_path: Path
) -> None:
    with (
        serving(dependencies_over(database, tmp_path), heartbeat_s=0.05) as stopping,
        stream(stopping, runs=pair[0].id) as events,
    ):
        assert next(events)[0] == "run"
        stopping.state.feed.close()
        assert [name for name, _ in events] == []


def test_a_silent_stream_shows_that_it_is_alive(
    database: Database, api: Api, pair: tuple[Run, Run], tmp_path: Path
) -> None:
    with (
        serving(dependencies_over(database, tmp_path), heartbeat_s=0.05) as eager,
        httpx.Client(base_url=eager.url, timeout=20) as client,
        client.stream("GET", "/events", params={"runs": pair[0].id}) as answer,
    ):
        events = _events(answer.iter_lines())
        assert [next(events)[0] for _ in range(4)] == ["alive", "run", "alive", "alive"]
