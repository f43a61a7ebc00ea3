"""GET /runs/{id}/output: what tasks say while they run."""

import io
import json
import sys
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from sisu_pipeline.console.api_client import Api as Client
from sisu_pipeline.console.run_watch import follow, follow_output
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store import runs
from sisu_pipeline.store.outputs import task_output
from sisu_pipeline.store.outputs.task_output import Piece
from sisu_pipeline.store.runs import Run
from tests.builders import a_run
from tests.integration.api.conftest import Api

Until = Callable[[Callable[[], bool]], None]

# What Python and many clients take for the end of a line, and JSON leaves as it is.
LINE_BREAKS = "a\x85b\u2028c\u2029d"


def a_running_run(api: Api) -> Run:
    with api.dependencies.database.connect() as connection:
        return runs.move(connection, a_run(connection), RunStatus.RUNNING)


def say(api: Api, run: Run, *texts: str) -> None:
    with api.dependencies.database.connect() as connection:
        task_output.append(connection, [Piece(run.id, "k" * 64, 0, "stdout", text) for text in texts])


def end(api: Api, run: Run) -> None:
    with api.dependencies.database.connect() as connection:
        runs.move(connection, runs.lock(connection, run.id), RunStatus.SUCCEEDED)


def test_output_comes_while_the_run_goes_on_and_the_stream_ends_with_it(api: Api) -> None:
    run = a_running_run(api)
    say(api, run, "one\n")
    pieces: list[dict[str, Any]] = []
    with (
        httpx.Client(base_url=api.url, timeout=20, verify=False) as client,
        client.stream("GET", f"/runs/{run.id}/output") as answer,
    ):
        for line in answer.iter_lines():
            if line.startswith("data: "):
                pieces.append(json.loads(line.removeprefix("data: ")))
                if len(pieces) == 1:
                    say(api, run, "two\n", "three\n")
                if len(pieces) == 3:
                    end(api, run)
    assert [piece["chunk"] for piece in pieces] == ["one\n", "two\n", "three\n"]
    assert pieces[0] == {"runId": run.id, "taskKey": "k" * 64, "position": 0, "kind": "stdout", "chunk": "one\n"}


def test_a_reader_that_comes_back_goes_on_where_it_was(api: Api) -> None:
    run = a_running_run(api)
    say(api, run, "one", "two")
    end(api, run)
    first = api.get(f"/runs/{run.id}/output")
    ids = [line.removeprefix("id: ") for line in first.text.splitlines() if line.startswith("id: ")]
    again = api.client.get(f"/runs/{run.id}/output", headers={"Last-Event-ID": ids[0]})
    assert ('"one"' in first.text, '"one"' in again.text, '"two"' in again.text) == (True, False, True)


def test_an_unknown_run_is_a_404(api: Api) -> None:
    assert api.get("/runs/run_nobody/output").status_code == 404


def test_the_command_line_prints_whole_lines_by_task(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    run = a_running_run(api)
    with api.dependencies.database.connect() as connection:
        texts = [(0, "stdout", "ha"), (1, "stderr", "oh\n"), (0, "stdout", "lf\nre"), (0, "stdout", "st")]
        task_output.append(connection, [Piece(run.id, "k" * 64, *text) for text in texts])
    end(api, run)
    client = Client(api.url)
    follow_output(client, run.id)
    client.close()
    assert capsys.readouterr().out == "1! oh\n0  half\n0  rest\n"


def test_a_line_break_of_unicode_in_a_task_output_ends_no_event(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    run = a_running_run(api)
    say(api, run, LINE_BREAKS + "\n")
    end(api, run)
    client = Client(api.url)
    assert [piece["chunk"] for piece in client.run_output(run.id)] == [LINE_BREAKS + "\n"]
    follow_output(client, run.id)
    client.close()
    assert capsys.readouterr().out.count("\n") == 1


def test_a_line_break_of_unicode_in_a_run_ends_no_event(api: Api) -> None:
    with api.dependencies.database.connect() as connection:
        run = runs.lock(connection, a_run(connection, tenantId=LINE_BREAKS).id)
        runs.move(connection, run, RunStatus.CANCELED, error=LINE_BREAKS)
    client = Client(api.url)
    (state,) = client.run_events(run.id)
    client.close()
    assert (state["tenantId"], state["error"]) == (LINE_BREAKS, LINE_BREAKS)


def test_watch_shows_what_tasks_say_between_the_runs_changes(
    api: Api, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = io.StringIO()  # to be read while it is written to, which capsys cannot without losing something
    monkeypatch.setattr(sys, "stdout", heard)
    run = a_running_run(api)
    client = Client(api.url)

    def watched() -> None:
        follow(client, run.id, until_gate=False, silent=False, output=True)

    watching = threading.Thread(target=watched)
    watching.start()
    until(lambda: api.state.feed.watcher_count == 2)
    say(api, run, "early\n")
    until(lambda: "early" in heard.getvalue())  # while the run goes on
    assert watching.is_alive()
    say(api, run, "late\n", "unfinished")
    end(api, run)
    watching.join(20)
    client.close()
    lines = heard.getvalue().splitlines()
    assert lines[1:4] == ["0  early", "0  late", "0  unfinished"]
    assert "running" in lines[0]
    assert "succeeded" in lines[4]
    assert len(lines) == 5


def test_watch_can_be_asked_to_show_none_of_it(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    run = a_running_run(api)
    say(api, run, "noise\n")
    end(api, run)
    client = Client(api.url)
    follow(client, run.id, until_gate=False, silent=False)
    client.close()
    assert "noise" not in capsys.readouterr().out
