"""The Python client: its types are those of the API, its errors say what to do, and URLs carry no secrets."""

import typing
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from sisu_pipeline.cli.command_tree import app
from sisu_pipeline.client import Client, RequestFailed, replies
from tests.docs_generators.api_page import api

REPLIES = sorted(name for name, each in vars(replies).items() if typing.is_typeddict(each))
# A server-sent event, which also has an id.
EVENTS = {"OutputPiece": "TaskOutput"}


@pytest.mark.parametrize("name", REPLIES)
def test_a_type_of_a_reply_has_members_that_the_api_sends(name: str) -> None:
    declared = getattr(replies, name)
    schema = api().openapi()["components"]["schemas"][EVENTS.get(name, name)]
    sent = {*schema["properties"]} | ({"id"} if name in EVENTS else set())
    always = {*schema["required"]} | ({"id"} if name in EVENTS else set())
    assert set(declared.__annotations__) <= sent
    assert set(declared.__required_keys__) <= always
    assert not set(declared.__optional_keys__) & always


@pytest.fixture
def answers() -> Iterator[Callable[[httpx.Response], Client]]:
    """A client whose every request gets this response."""
    made: list[Client] = []

    def client(response: httpx.Response) -> Client:
        made.append(Client("http://127.0.0.1:1"))
        made[-1]._http = httpx.Client(
            base_url="http://127.0.0.1:1", transport=httpx.MockTransport(lambda request: response)
        )
        return made[-1]

    yield client
    for each in made:
        each.close()


def problem(status: int, **members: Any) -> httpx.Response:
    return httpx.Response(status, json={"error": "it failed", "code": "a_code", "details": [], **members})


def test_a_refusal_has_the_sentence_the_code_the_details_and_the_next_step(
    answers: Callable[[httpx.Response], Client],
) -> None:
    details = [{"pointer": "/goal", "message": "goal is required"}, {"pointer": "", "message": "is empty"}]
    with pytest.raises(RequestFailed) as refused:
        answers(problem(409, details=details)).show("run_1")
    failure = refused.value
    assert (failure.message, failure.code, failure.status, failure.is_passing) == (
        "it failed",
        "a_code",
        409,
        False,
    )
    assert str(failure).splitlines() == [
        "it failed",
        "  /goal: goal is required",
        "  /: is empty",
        "Next: read the run again, then decide about its current state.",
    ]


@pytest.mark.parametrize(
    ("status", "is_passing", "step"),
    [
        (400, False, None),
        (401, False, "pass the token of `sisu token create` as `token`"),
        (403, False, "use a token with the role that the message names"),
        (404, False, None),
        (500, False, "read the log of the API: the cause is there"),
        (503, True, "try again later"),
    ],
)
def test_each_status_has_its_next_step(
    answers: Callable[[httpx.Response], Client], status: int, is_passing: bool, step: str | None
) -> None:
    with pytest.raises(RequestFailed) as refused:
        answers(problem(status)).runs()
    assert (refused.value.is_passing, refused.value.next_step) == (is_passing, step)


@pytest.mark.parametrize("status", [200, 404, 502])
def test_another_server_is_recognized(answers: Callable[[httpx.Response], Client], status: int) -> None:
    with pytest.raises(RequestFailed, match="is not the Sisu API") as refused:
        answers(httpx.Response(status, text="<html>", request=httpx.Request("GET", "http://x"))).runs()
    assert (refused.value.code, refused.value.status) == ("not_the_api", status)


def test_an_api_that_does_not_answer_is_a_passing_failure(free_port: Callable[[], int]) -> None:
    with Client(f"http://127.0.0.1:{free_port()}", timeout_s=2) as client, pytest.raises(RequestFailed) as refused:
        client.runs()
    assert (refused.value.code, refused.value.status, refused.value.is_passing) == ("unreachable", None, True)
    assert "start the stack with `sisu start`" in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:3001",
        "ftp://host",
        "http://",
        "http://me:secret@host",
        "http://host?token=secret",
        "http://h#x",
    ],
)
def test_a_url_that_is_none_or_carries_a_secret_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="the URL of the API") as refused:
        Client(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [("file", "application/octet-stream"), ("", "application/octet-stream"), ("stdout", "text/plain")],
)
def test_bytes_that_differ_from_their_hash_are_refused(
    answers: Callable[[httpx.Response], Client], kind: str, media_type: str
) -> None:
    headers = {"ETag": f'"{"0" * 64}"', "Content-Type": media_type}
    client = answers(httpx.Response(200, content=b"other", headers=headers))
    card: replies.ArtifactView = {
        "kind": kind,
        "sha256": "0" * 64,
        "uri": "artifact://run/1",
        "stepId": "ExecuteST",
        "taskKey": "",
        "sizeBytes": 5,
    }
    with pytest.raises(RequestFailed, match="download it again"):
        client.artifact(card if kind else card["uri"])


def test_json_is_not_compared_with_the_hash_of_its_canonical_form(
    answers: Callable[[httpx.Response], Client],
) -> None:
    served = httpx.Response(200, json={"b": 1}, headers={"ETag": f'"{"0" * 64}"'})
    download = answers(served).artifact("artifact://run/1")
    assert (download.sha256, download.media_type, download.content) == (
        "0" * 64,
        "application/json",
        served.content,
    )


@pytest.mark.parametrize("uri", ["", "artifact://", "artifact://run/../x", "artifact://run//x"])
def test_what_is_no_address_of_an_artifact_is_not_requested(uri: str) -> None:
    with (
        Client("http://127.0.0.1:1") as client,
        pytest.raises(RequestFailed, match="not the address of an artifact"),
    ):
        client.artifact(uri)


def test_a_command_refuses_such_a_url_in_one_line() -> None:
    refused = CliRunner().invoke(app, ["run", "list", "--url", "http://me:secret@host"])
    assert refused.exit_code == 1
    assert refused.stderr.startswith("sisu: --url: the URL of the API has no credentials")
    assert "secret" not in refused.output
