"""GET /runs/{id}/output: what tasks say while they run."""

import json
from typing import Any

import httpx
import pytest

from sisu_pipeline.cli.client import Api as Client
from sisu_pipeline.cli.watching import follow_output
from sisu_pipeline.status import RunStatus
from sisu_pipeline.store import output, runs
from sisu_pipeline.store.output import Piece
from sisu_pipeline.store.runs import Run
from tests.builders import a_run
from tests.integration.api.conftest import Api


def a_running_run(api: Api) -> Run:
    with api.services.database.connect() as connection:
        return runs.move(connection, a_run(connection), RunStatus.RUNNING)


def say(api: Api, run: Run, *texts: str) -> None:
    with api.services.database.connect() as connection:
        output.append(connection, [Piece(run.id, "k" * 64, 0, "stdout", text) for text in texts])


def end(api: Api, run: Run) -> None:
    with api.services.database.connect() as connection:
        runs.move(connection, runs.lock(connection, run.id), RunStatus.SUCCEEDED)


def test_output_comes_while_the_run_goes_on_and_the_stream_ends_with_it(api: Api) -> None:
    run = a_running_run(api)
    say(api, run, "one\n")
    said: list[dict[str, Any]] = []
    with (
        httpx.Client(base_url=api.url, timeout=20, verify=False) as client,
        client.stream("GET", f"/runs/{run.id}/output") as answer,
    ):
        for line in answer.iter_lines():
            if line.startswith("data: "):
                said.append(json.loads(line.removeprefix("data: ")))
                if len(said) == 1:
                    say(api, run, "two\n", "three\n")
                if len(said) == 3:
                    end(api, run)
    assert [piece["chunk"] for piece in said] == ["one\n", "two\n", "three\n"]
    assert said[0] == {"taskKey": "k" * 64, "position": 0, "kind": "stdout", "chunk": "one\n"}


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
    with api.services.database.connect() as connection:
        texts = [(0, "stdout", "ha"), (1, "stderr", "oh\n"), (0, "stdout", "lf\nre"), (0, "stdout", "st")]
        output.append(connection, [Piece(run.id, "k" * 64, *text) for text in texts])
    end(api, run)
    client = Client(api.url)
    follow_output(client, run.id)
    client.close()
    assert capsys.readouterr().out == "1! oh\n0  half\n0  rest\n"
