"""POST /intents and POST /intents/{id}/run."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from jsonschema import Draft202012Validator

from sisu_pipeline.domain.identity import run_id
from tests.integration.api.conftest import Api

INTENT = {"goal": "demo", "inputs": {}, "constraints": {}}
REQUEST = {"recipeName": "sandbox-default", "queuePartitionKey": "tenant-1"}
UNKNOWN = "ih_" + "0" * 64

Contents = Callable[[], dict[str, str]]


def _submitted(api: Api) -> str:
    intent: str = api.post("/intents", INTENT).json()["intentId"]
    return intent


def test_the_published_schemas_accept_what_the_api_accepts(api: Api) -> None:
    schemas = api.get("/intents/schema").json()
    intent, run = (Draft202012Validator(schemas[name]) for name in ("intent", "run"))
    assert intent.is_valid(INTENT)
    assert run.is_valid(REQUEST)
    for body in ({**INTENT, "goal": ""}, {**INTENT, "inputs": {"tests": "t1"}}, {**INTENT, "other": 1}):
        assert not intent.is_valid(body)
        assert api.post("/intents", body).status_code == 400
    assert not run.is_valid({"priority": 0})


def test_a_new_intent_is_201_and_its_repeat_is_200_and_a_replay(api: Api) -> None:
    first, again = api.post("/intents", INTENT), api.post("/intents", {**INTENT, "goal": "demo"})
    assert (first.status_code, first.json()["isReplay"]) == (201, False)
    assert (again.status_code, again.json()["isReplay"]) == (200, True)
    assert first.json()["intentId"] == again.json()["intentId"]


def test_the_order_of_members_and_the_spelling_of_numbers_do_not_make_another_intent(api: Api) -> None:
    bodies = (
        b'{"goal":"n","inputs":{"a":1,"b":1e2},"constraints":{}}',
        b'{"constraints":{},"inputs":{"b":100.0,"a":1.0},"goal":"n"}',
    )
    ids = {api.client.post("/intents", content=body).json()["intentId"] for body in bodies}
    assert len(ids) == 1


def test_the_content_type_does_not_matter(api: Api) -> None:
    # As `curl -d` sends it.
    header = {"content-type": "application/x-www-form-urlencoded"}
    answer = api.client.post("/intents", content=b'{"goal":"x","inputs":{},"constraints":{}}', headers=header)
    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("setup", "field"),
    [
        ({"prepare": "make", "network": True}, "/inputs/setup/network"),
        ({"prepare": "make", "image": "node"}, "/inputs/setup/image"),
        ({"prepare": ""}, "/inputs/setup/prepare"),
        ({}, "/inputs/setup"),
    ],
)
def test_a_setup_that_cannot_be_honored_is_a_400_and_nothing_is_written(
    api: Api, contents: Contents, setup: dict[str, object], field: str
) -> None:
    before = contents()
    refused = api.post("/intents", {**INTENT, "inputs": {"setup": setup}})
    assert refused.status_code == 400
    assert field in refused.text
    assert contents() == before


def test_a_file_in_a_git_folder_is_a_400_and_nothing_is_written(api: Api, contents: Contents) -> None:
    before = contents()
    for path in (".git/config", "a/.GIT/hooks/x", "git~1/x", ".g\u200cit/x"):
        refused = api.post("/intents", {**INTENT, "inputs": {"files": {"a.txt": "", path: ""}}})
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_input")
        (fault,) = refused.json()["details"]
        assert fault["pointer"] == "/inputs/files/" + path.replace("~", "~0").replace("/", "~1")
        assert fault["message"] == f"path {path!a} is in a .git folder; leave out git's own files"
    assert contents() == before


def test_an_intent_out_of_contract_is_a_400_that_names_every_place(api: Api) -> None:
    answer = api.post("/intents", {"goal": "", "inputs": [], "constraints": {}, "x": 1})
    assert answer.status_code == 400
    assert answer.json() == {
        "error": "invalid Intent: goal must not be empty (and 2 more)",
        "code": "invalid_contract",
        "details": [
            {"pointer": "/goal", "message": "goal must not be empty"},
            {"pointer": "/inputs", "message": "inputs must be an object (got an array)"},
            {"pointer": "/x", "message": "unknown field 'x'"},
        ],
    }


def test_starting_is_202_with_the_ids_that_follow_from_the_intent(api: Api) -> None:
    intent = _submitted(api)
    answer = api.post(f"/intents/{intent}/run", REQUEST)
    assert answer.status_code == 202
    assert answer.json() == {"runId": run_id(intent), "workflowId": intent, "isReplay": False}


def test_labels_of_the_caller_are_shown_and_two_runs_may_have_the_same(api: Api) -> None:
    labels = {"deduplicationID": "nightly", "taskKey": "build-7"}
    for goal in ("a", "b"):
        intent = api.post("/intents", {**INTENT, "goal": goal}).json()["intentId"]
        run = api.post(f"/intents/{intent}/run", {**REQUEST, **labels}).json()["runId"]
        shown = api.get(f"/runs/{run}").json()
        assert {name: shown[name] for name in labels} == labels


def test_starting_again_with_the_same_identity_is_a_replay(api: Api, contents: Contents) -> None:
    intent = _submitted(api)
    api.post(f"/intents/{intent}/run", REQUEST)
    before = contents()
    labels = {"deduplicationID": "d", "taskKey": "k"}
    again = api.post(f"/intents/{intent}/run", {**REQUEST, "priority": 7, "timeoutMS": 1000, **labels})
    assert (again.status_code, again.json()["isReplay"]) == (202, True)
    assert again.json()["kept"] == [
        {"field": "priority", "requested": 7, "kept": 1},
        {"field": "timeoutMS", "requested": 1000, "kept": None},
        {"field": "deduplicationID", "requested": "d", "kept": None},
        {"field": "taskKey", "requested": "k", "kept": None},
    ]
    assert "kept" not in api.post(f"/intents/{intent}/run", {**REQUEST, "priority": 1}).json()
    assert contents() == before


def test_second_start_with_another_partition_key_is_a_409_and_writes_nothing(api: Api, contents: Contents) -> None:
    intent = _submitted(api)
    api.post(f"/intents/{intent}/run", REQUEST)
    before = contents()
    answer = api.post(f"/intents/{intent}/run", {**REQUEST, "queuePartitionKey": "tenant-2", "traceId": "t"})
    assert answer.status_code == 409
    assert answer.json() == {
        "error": f"Divergence in run {intent}: identity drift on queuePartitionKey, traceId",
        "code": "identity_drift",
        "details": [
            {"pointer": "/queuePartitionKey", "message": 'existing "tenant-1", incoming "tenant-2"'},
            {"pointer": "/traceId", "message": 'existing null, incoming "t"'},
        ],
    }
    assert contents() == before


def test_every_field_of_the_identity_tuple_drifts(api: Api) -> None:
    intent = _submitted(api)
    budget = {"maxFanout": 1, "maxSBXMinutes": 1, "maxArtifactsMB": 1, "maxRetriesPerStep": 0, "maxWallClockMS": 1}
    api.post(f"/intents/{intent}/run", REQUEST)
    other = {"recipeName": "compile-default", "queuePartitionKey": "p", "tenantId": "t", "lane": "batch"}
    answer = api.post(f"/intents/{intent}/run", {**other, "traceId": "x", "budget": budget})
    assert [detail["pointer"] for detail in answer.json()["details"]] == [
        "/budget",
        "/lane",
        "/queuePartitionKey",
        "/recipeHash",
        "/recipeId",
        "/tenantId",
        "/traceId",
    ]


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({}, "queuePartitionKey is required for partitioned operations (queue: intentQ, isParent: true)"),
        ({**REQUEST, "recipeName": "none"}, "recipe not found: none"),
        ({**REQUEST, "queueName": "sbxQ"}, "parent intent workflow must use intentQ (got sbxQ)"),
        (
            {**REQUEST, "workload": {"concurrency": 21, "steps": 1, "sandboxMinutes": 1}},
            "recipe cap exceeded: concurrency 21 > 20",
        ),
    ],
)
def test_policy_is_a_400_before_the_intent_is_looked_up(
    api: Api, contents: Contents, request_: dict[str, object], error: str
) -> None:
    before = contents()
    answer = api.post(f"/intents/{UNKNOWN}/run", request_)
    assert answer.status_code == 400
    assert answer.json() == {"error": error, "code": "queue_policy_violation", "details": []}
    assert contents() == before


def test_a_body_out_of_contract_is_a_400_before_policy(api: Api) -> None:
    answer = api.post(f"/intents/{UNKNOWN}/run", {"recipeName": 1})
    assert answer.json()["code"] == "invalid_contract"
    assert answer.json()["error"].startswith("invalid RunRequest")


def test_no_body_is_an_empty_request(api: Api) -> None:
    assert api.client.post(f"/intents/{UNKNOWN}/run").json()["code"] == "queue_policy_violation"
    assert api.client.post("/intents").json()["error"].startswith("invalid Intent: constraints is required")


def test_an_unknown_intent_is_a_404(api: Api) -> None:
    answer = api.post(f"/intents/{UNKNOWN}/run", REQUEST)
    assert answer.status_code == 404
    assert answer.json() == {"error": "intent not found", "code": "not_found", "details": []}


def test_a_hundred_concurrent_starts_are_one_run_and_one_of_them_started_it(api: Api) -> None:
    intent = _submitted(api)
    barrier = threading.Barrier(100)

    def start(_: int) -> httpx.Response:
        barrier.wait()
        return client.post(f"{api.url}/intents/{intent}/run", json=REQUEST)

    limits = httpx.Limits(max_connections=100)
    with httpx.Client(timeout=30, limits=limits) as client, ThreadPoolExecutor(100) as threads:
        answers = list(threads.map(start, range(100)))
    assert Counter(answer.status_code for answer in answers) == {202: 100}
    assert Counter(answer.json()["isReplay"] for answer in answers) == {True: 99, False: 1}
    with api.dependencies.database.connect() as connection:
        assert len(connection.execute("SELECT id FROM app.runs").fetchall()) == 1


def test_a_start_of_a_canceled_intent_is_a_409_with_a_sentence_and_writes_nothing(
    api: Api, contents: Callable[[], dict[str, str]]
) -> None:
    intent_id = api.post("/intents", {"goal": "burnt", "inputs": {}, "constraints": {}}).json()["intentId"]
    body = {"recipeName": "sandbox-default", "queuePartitionKey": "t"}
    run_id = api.post(f"/intents/{intent_id}/run", body).json()["runId"]
    assert api.post(f"/runs/{run_id}/cancel", {"actor": "ann", "reason": "wrong click"}).status_code == 202
    before = contents()
    answer = api.post(f"/intents/{intent_id}/run", body)
    assert (answer.status_code, answer.json()["code"]) == (409, "run_canceled")
    assert "change the intent" in answer.json()["error"]
    assert contents() == before
    drifted = api.post(f"/intents/{intent_id}/run", {**body, "queuePartitionKey": "elsewhere"})
    assert (drifted.status_code, drifted.json()["code"]) == (409, "identity_drift")


@pytest.mark.parametrize(
    ("inputs", "pointer", "message"),
    [
        ({"files": {"n" * 256: ""}}, "/inputs/files", "a name in a path has at most 255 bytes (got 256)"),
        (
            {"patches": [{"targetPath": "a/" * 1024 + "a"}]},
            "/inputs/patches/0/targetPath",
            "a path has at most 2048 bytes (got 2049)",
        ),
        ({"tests": ["a", "t" * 10_001]}, "/inputs/tests/1", "a test name has at most 10000 characters (got 10001)"),
        ({"testCommand": "c" * 100_001}, "/inputs/testCommand", "testCommand has at most 100000 characters"),
    ],
)
def test_what_is_too_long_for_a_file_or_a_command_is_a_400_and_writes_nothing(
    api: Api, contents: Contents, inputs: dict[str, object], pointer: str, message: str
) -> None:
    before = contents()
    answer = api.post("/intents", {**INTENT, "inputs": inputs})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")
    (detail,) = answer.json()["details"]
    assert detail["pointer"] == pointer and detail["message"].startswith(message)
    assert contents() == before


PATCH = {"targetPath": "a", "postimageContent": ""}


@pytest.mark.parametrize(
    ("inputs", "pointer", "message"),
    [
        ({"testCommand": ""}, "/testCommand", "testCommand must not be empty"),
        ({"testCommand": ["a"]}, "/testCommand", "testCommand must be a string (got an array)"),
        ({"testCommand": None}, "/testCommand", "testCommand must be a string (got null)"),
        (
            {"testCommand": "run " + "{test}" * 13, "tests": ["b", "a " * 5000]},
            "/testCommand",
            f"testCommand with the test '{('a ' * 30)[:59]}\\u2026' has 130,030 bytes; "
            "the command of a task has at most 120,000",
        ),
        ({"tests": "tests/a.py"}, "/tests", "tests must be an array (got 'tests/a.py')"),
        ({"tests": None}, "/tests", "tests must be an array (got null)"),
        ({"tests": ["t"] * 10_001}, "/tests", "tests must have at most 10,000 items"),
        ({"files": ["a"]}, "/files", "files must be an object (got an array)"),
        ({"files": {"a": 1}}, "/files/a", "files.a must be a string (got 1)"),
        (
            {"files": {"a": "x", "a-b": "y", "a/b": "z"}},
            "/files/a~1b",
            "'a' is a file, and cannot be the folder of 'a/b' too",
        ),
        (
            {"files": {"../x": ""}},
            "/files/..~1x",
            "path '../x' must be relative and stay in the workspace: no '.', '..' or empty part",
        ),
        ({"patches": [PATCH] * 201}, "/patches", "patches must have at most 200 items"),
        (
            {"patches": [{"targetPath": "a"}]},
            "/patches/0",
            "the patch of 'a' must have postimageContent or contentBase64",
        ),
    ],
)
def test_inputs_that_no_plan_can_have_are_a_400_and_write_nothing(
    api: Api, contents: Contents, inputs: dict[str, object], pointer: str, message: str
) -> None:
    before = contents()
    answer = api.post("/intents", {**INTENT, "inputs": inputs})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")
    assert answer.json()["details"] == [{"pointer": f"/inputs{pointer}", "message": message}]
    assert contents() == before
