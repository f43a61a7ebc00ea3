"""GET /runs/{id}/events: server-sent events."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from resources.database import Database
from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.steps.step_result import StepResult
from sisu_pipeline.store import runs, steps
from sisu_pipeline.store.runs import Run
from tests.builders import a_run
from tests.integration.api.conftest import Api, Live, dependencies_over, serving

Until = Callable[[Callable[[], bool]], None]


@pytest.fixture
def run(api: Api) -> Run:
    """A queued run."""
    with api.dependencies.database.connect() as connection:
        return a_run(connection)


@contextmanager
def _stream(live: Live, run: Run) -> Iterator[Iterator[str]]:
    """The lines of a run's events."""
    with (
        httpx.Client(base_url=live.url, timeout=20, verify=False) as client,
        client.stream("GET", f"/runs/{run.id}/events") as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield answer.iter_lines()


def _next(lines: Iterator[str]) -> dict[str, Any]:
    """The next event's data."""
    for line in lines:
        if line.startswith("data: "):
            data: dict[str, Any] = json.loads(line.removeprefix("data: "))
            return data
    raise EOFError


def _move(api: Api, run: Run, *statuses: RunStatus) -> None:
    for status in statuses:
        with api.dependencies.database.connect() as connection:
            runs.move(connection, runs.lock(connection, run.id), status)


def test_the_current_state_comes_at_once(api: Api, run: Run) -> None:
    with _stream(api, run) as lines:
        state = _next(lines)
    assert (state["runId"], state["status"], state["tasks"]) == (run.id, "queued", {"finished": 0, "failed": 0})


def test_a_browser_that_connects_again_after_the_end_is_told_to_stop(api: Api, run: Run) -> None:
    _move(api, run, RunStatus.CANCELED)
    first = api.get(f"/runs/{run.id}/events")
    (last,) = [line.removeprefix("id: ") for line in first.text.splitlines() if line.startswith("id: ")]
    again = api.client.get(f"/runs/{run.id}/events", headers={"Last-Event-ID": last})
    assert (again.status_code, again.content) == (204, b"")
    assert api.get(f"/runs/{run.id}/events").status_code == 200
    assert api.get(f"/runs/{run.id}/output").status_code == 204


def test_each_change_is_an_event_and_the_stream_ends_with_the_run(api: Api, run: Run) -> None:
    with _stream(api, run) as lines:
        assert _next(lines)["status"] == "queued"
        _move(api, run, RunStatus.RUNNING)
        assert _next(lines)["status"] == "running"
        with api.dependencies.database.connect() as connection:
            steps.commit(connection, run, StepResult(StepId.COMPILE, {}), api.dependencies.blobs)
        assert _next(lines)["lastStep"] == "CompileST"
        _move(api, run, RunStatus.WAITING_INPUT)
        assert _next(lines)["status"] == "waiting_input"
        api.post(f"/runs/{run.id}/approve-plan", {"approvedBy": "po"})
        assert _next(lines)["decision"]["decidedBy"] == "po"
        _move(api, run, RunStatus.RUNNING, RunStatus.SUCCEEDED)
        rest = [json.loads(line[6:])["status"] for line in lines if line.startswith("data: ")]
    assert rest[-1] == "succeeded"


def test_tasks_that_finish_without_an_announcement_show_while_the_run_runs(api: Api, run: Run) -> None:
    _move(api, run, RunStatus.RUNNING)
    with _stream(api, run) as lines:
        _next(lines)
        with api.dependencies.database.connect() as connection:
            connection.execute(
                "INSERT INTO app.sbx_runs (run_id, step_id, task_key, attempt, position, provider, request,"
                " response, err_code, metrics)"
                " VALUES (%s, 'ExecuteST', 't', 1, 0, 'mock', '{}', '{}', 'NONE', '{}')",
                [run.id],
            )
        assert _next(lines)["tasks"] == {"finished": 1, "failed": 0}


def test_a_run_that_has_ended_is_one_event(api: Api, run: Run) -> None:
    _move(api, run, RunStatus.CANCELED)
    with _stream(api, run) as lines:
        assert _next(lines)["status"] == "canceled"
        assert [line for line in lines if line] == []


def test_silence_is_broken_by_a_comment(database: Database, api: Api, run: Run, tmp_path: Path) -> None:
    with serving(dependencies_over(database, tmp_path), heartbeat_s=0.05) as eager, _stream(eager, run) as lines:
        _next(lines)
        assert next(line for line in lines if line) == ": heartbeat"


def test_an_unknown_run_is_a_404_before_any_stream(api: Api) -> None:
    answer = api.get("/runs/run_" + "0" * 32 + "/events")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_many_watchers_hold_neither_threads_nor_connections_and_leave_nothing_behind(
    api: Api, run: Run, until: Until
) -> None:
    with ExitStack() as stack:
        # More than there are threads (40) and connections (20).
        streams = [stack.enter_context(_stream(api, run)) for _ in range(60)]
        for lines in streams:
            assert _next(lines)["status"] == "queued"
        assert api.state.feed.watcher_count == 60
        assert api.get("/healthz").status_code == 200
        assert api.get(f"/runs/{run.id}").status_code == 200
        with api.dependencies.database.connect() as connection:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sisu-api-feed'"
            ).fetchone()
        assert row == {"count": 1}
    until(lambda: api.state.feed.watcher_count == 0)


def test_a_stream_outlives_the_loss_of_every_connection(api: Api, run: Run) -> None:
    with _stream(api, run) as lines:
        _next(lines)
        with api.dependencies.database.connect(autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name LIKE 'sisu-api%' AND pid <> pg_backend_pid()"
            )
        _move(api, run, RunStatus.RUNNING)
        assert _next(lines)["status"] == "running"
