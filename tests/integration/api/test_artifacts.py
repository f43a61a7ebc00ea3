"""GET /artifacts/{uri}."""

from typing import Any
from urllib.parse import quote

import httpx
import pytest

from resources.sandbox.output_files import file_out
from sisu_pipeline.contracts.sandbox_request import ErrorCode, Metrics, SandboxRequest, SandboxResult
from sisu_pipeline.defs.asset_metadata import artifact_url
from sisu_pipeline.domain.canonical import sha256_hex
from sisu_pipeline.steps.step_result import Artifact
from sisu_pipeline.steps.task_evidence import task_artifacts
from sisu_pipeline.store.outputs import artifacts
from tests.builders import a_run
from tests.integration.api.conftest import Api

HASH = "c" * 64


def _kept(api: Api, kind: str, inline: Any, name: str = "x") -> str:
    """Keep an artifact; returns its address as a path of the API."""
    uri = f"artifact://run/r/step/ExecuteST/task/t/{name}"
    with api.dependencies.database.connect() as connection:
        run = a_run(connection)
        artifact = Artifact("ExecuteST", 0, kind, uri, inline, HASH, "t")
        artifacts.insert(connection, run.id, [artifact], api.dependencies.blobs)
    return f"/artifacts/{quote(uri, safe='')}"


def _media_type(answer: httpx.Response) -> str:
    return answer.headers["content-type"].partition(";")[0]


@pytest.mark.parametrize(
    ("kind", "inline", "media_type", "body"),
    [
        ("timings", {"json": {"wallMs": 1}}, "application/json", '{\n  "wallMs": 1\n}'),
        ("artifact_index", {"json": {"é": []}}, "application/json", '{\n  "é": []\n}'),
        ("plan_card", {"goal": "g"}, "application/json", '{\n  "goal": "g"\n}'),
        ("json", {"text": "t"}, "application/json", '"t"'),
        ("stdout", {"text": "line\nnext é"}, "text/plain", "line\nnext é"),
        ("none", {"text": "none"}, "text/plain", "none"),
        ("file", {"text": None}, "text/plain", '{\n  "text": null\n}'),
        ("svg", {"text": "<svg/>"}, "image/svg+xml", "<svg/>"),
        ("patch", {"path": "a", "diff": "d"}, "text/plain", '{"diff":"d","path":"a"}'),
    ],
)
def test_each_kind_is_served_as_a_person_wants_to_read_it(
    api: Api, kind: str, inline: Any, media_type: str, body: str
) -> None:
    answer = api.get(_kept(api, kind, inline))
    assert answer.status_code == 200
    assert (_media_type(answer), answer.text) == (media_type, body)


def test_a_binary_file_is_served_as_the_bytes_that_its_hash_names(api: Api) -> None:
    data = bytes(range(256)) * 400  # more than is stored in a row
    file = file_out("out.bin", data)
    result = SandboxResult(
        exit=0,
        stdout="",
        stderr="",
        files_out=(file,),
        metrics=Metrics(wall_ms=1, cpu_ms=1, mem_peak_mb=1),
        sandbox_ref="s",
        err_code=ErrorCode.NONE,
        task_key="t",
    )
    request = SandboxRequest(env_ref="e", cmd="x", timeout_ms=1, task_key="t")
    with api.dependencies.database.connect() as connection:
        run = a_run(connection)
        left = task_artifacts(run.id, request, result, 1)
        artifacts.insert(connection, run.id, left, api.dependencies.blobs)
    (uri,) = [artifact.uri for artifact in left if artifact.kind == "file"]
    path = f"/artifacts/{quote(uri, safe='')}"
    answer = api.get(path)
    assert (_media_type(answer), answer.content) == ("application/octet-stream", data)
    assert answer.headers["etag"] == f'"{sha256_hex(data)}"'
    part = api.client.get(path, headers={"range": "bytes=255-257"})
    assert (part.status_code, part.content) == (206, b"\xff\x00\x01")


def test_the_etag_is_the_sha256_and_spares_a_second_download(api: Api) -> None:
    path = _kept(api, "stdout", {"text": "x"})
    assert api.get(path).headers["etag"] == f'"{HASH}"'
    again = api.client.get(path, headers={"if-none-match": f'"{HASH}"'})
    assert (again.status_code, again.content) == (304, b"")


def test_a_browser_neither_sniffs_nor_runs_what_a_task_left(api: Api) -> None:
    headers = api.get(_kept(api, "svg", {"text": "<svg onload='x'/>"})).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]


def test_large_content_comes_from_the_blob_store(api: Api) -> None:
    text = "x" * 100_000
    assert api.get(_kept(api, "stdout", {"text": text})).text == text


@pytest.mark.parametrize("name", ["files/a b.txt", "files/100%25.txt", "files/ä?#.txt", "files/a\nb", "files/a//b"])
def test_a_file_is_served_whatever_it_is_called(api: Api, name: str) -> None:
    assert api.get(_kept(api, "file", {"text": name}, name)).text == name


def test_a_file_has_an_address_without_encoded_slashes(api: Api) -> None:
    _kept(api, "file", {"text": "found"}, "files/a b/100%25?.txt")
    assert api.get("/artifacts/run/r/step/ExecuteST/task/t/files/a%20b/100%2525%3F.txt").text == "found"
    link = artifact_url(api.dependencies, "artifact://run/r/step/ExecuteST/task/t/files/a b/100%25?.txt")
    assert "%2F" not in link
    assert api.get(link.removeprefix(api.dependencies.api_url)).text == "found"


@pytest.mark.parametrize("uri", ["artifact://run/r/none", "x", "%00", "artifact://run/%00", "%2e%2e%2fetc", "%0a"])
def test_an_unknown_address_is_a_404(api: Api, uri: str) -> None:
    answer = api.get(f"/artifacts/{quote(uri, safe='%')}")
    assert (answer.status_code, answer.json()["error"]) == (404, "artifact not found")


def test_a_lost_blob_is_our_fault_and_not_a_404(api: Api) -> None:
    path = _kept(api, "stdout", {"text": "x" * 100_000})
    for blob in api.dependencies.blobs.root.glob("*/*"):
        blob.unlink()
    answer = api.get(path)
    assert (answer.status_code, answer.content) == (500, b'{"error":"internal error"}')


def test_the_hash_of_text_kinds_is_the_hash_of_what_is_served(api: Api) -> None:
    uri = "artifact://run/r/step/ExecuteST/task/t/stdout.log"
    with api.dependencies.database.connect() as connection:
        run = a_run(connection)
        artifact = Artifact("ExecuteST", 0, "stdout", uri, {"text": "out"}, sha256_hex("out"), "t")
        artifacts.insert(connection, run.id, [artifact], api.dependencies.blobs)
    answer = api.get(f"/artifacts/{quote(uri, safe='')}")
    assert answer.headers["etag"].strip('"') == sha256_hex(answer.content)


def test_a_download_is_resumed_where_it_broke_off(api: Api) -> None:
    path = _kept(api, "stdout", {"text": "0123456789"})
    part = api.client.get(path, headers={"range": "bytes=4-", "if-range": f'"{HASH}"'})
    assert (part.status_code, part.text, part.headers["content-range"]) == (206, "456789", "bytes 4-9/10")
    other = api.client.get(path, headers={"range": "bytes=4-", "if-range": '"another"'})
    assert (other.status_code, other.text) == (200, "0123456789")
    beyond = api.client.get(path, headers={"range": "bytes=10-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, "bytes */10")
