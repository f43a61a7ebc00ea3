"""Operators apply versions of policies and recipes with the API or at a terminal; everyone reads them."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sisu_pipeline.contracts.access import Role
from tests.docs_generators.markdown import DOCS
from tests.docs_generators.markdown_page import MarkdownPage
from tests.integration.api.conftest import Api
from tests.integration.gate.conftest import As, a_token
from tests.integration.gate.world import Waiting

Contents = Callable[[], dict[str, str]]
ANN = {"people": ["ann"]}
TWO = {"id": "two", "approvals": 2, "selfApproval": False}
RECIPE = {"name": "strict", "maxConcurrency": 1, "maxSteps": 2, "maxSandboxMinutes": 3, "policy": "two"}


def sisu(api: Api, *arguments: str, folder: Path | None = None, **environment: str) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "sisu_pipeline.cli", *arguments, "--url", api.url]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_policy_is_stored_as_the_next_version_and_the_same_content_changes_nothing(
    api: Api, contents: Contents
) -> None:
    first = api.post("/policies", TWO)
    assert (first.status_code, first.json()["version"], first.json()["isReplay"]) == (201, 1, False)
    before = contents()
    again = api.post("/policies", {**TWO, "deadlineMayApprove": False})
    assert (again.status_code, again.json()) == (200, {**first.json(), "isReplay": True})
    assert contents() == before
    assert api.post("/policies", {**TWO, "approvals": 3}).json()["version"] == 2
    # An earlier content is a version of its own: the newest version counts.
    assert api.post("/policies", TWO).json()["version"] == 3
    shown = api.get("/policies/two").json()["policies"]
    assert [(each["version"], each["policy"]["approvals"]) for each in shown] == [(3, 2), (2, 3), (1, 2)]
    assert shown[0]["sha256"] == shown[2]["sha256"] == first.json()["sha256"]
    listed = api.get("/policies").json()["policies"]
    assert [(each["id"], each["version"]) for each in listed] == [("default", 1), ("two", 3)]


def test_a_recipe_is_stored_as_the_next_version_and_a_run_starts_with_it(api: Api) -> None:
    unknown = api.post("/recipes", RECIPE)
    assert (unknown.status_code, unknown.json()["error"]) == (404, "policy not found: two")
    api.post("/policies", TWO)
    first = api.post("/recipes", RECIPE)
    assert (first.status_code, first.json()["id"], first.json()["version"]) == (201, "rcp_strict_v1", 1)
    assert api.post("/recipes", RECIPE).status_code == 200
    assert api.post("/recipes", {**RECIPE, "maxSteps": 5}).json()["version"] == 2
    shown = api.get("/recipes/strict").json()["recipes"]
    assert [(each["version"], each["maxSteps"], each["policy"]) for each in shown] == [(2, 5, "two"), (1, 2, "two")]
    run = Waiting(api.dependencies, request={"recipeName": "strict"})
    view = api.get(f"/runs/{run.run_id}").json()
    assert view["recipeRef"] == {"id": "rcp_strict_v2", "v": "2"}
    assert view["policyRef"] == {"id": "two", "v": "1", "sha256": run.run.policy_sha256}


PUSHING = {**RECIPE, "name": "pushing", "policy": "default"}


def test_a_recipe_names_where_branches_are_pushed(api: Api, contents: Contents, tmp_path: Path) -> None:
    plain = api.post("/recipes", PUSHING).json()
    assert plain["push"] is None
    pushing = {**PUSHING, "push": {"remote": "origin"}}
    first = api.post("/recipes", pushing)
    assert (first.status_code, first.json()["version"], first.json()["push"]) == (201, 2, {"remote": "origin"})
    assert first.json()["hash"] != plain["hash"]
    before = contents()
    assert api.post("/recipes", pushing).status_code == 200
    (tmp_path / "recipe.json").write_text(json.dumps(pushing))
    assert sisu(api, "recipe", "apply", "recipe.json", folder=tmp_path).endswith("(unchanged)\n")
    assert contents() == before
    (line,) = (line for line in sisu(api, "recipe", "list").splitlines() if "pushing@2" in line)
    assert "origin" in line.split()


@pytest.mark.parametrize(
    ("remote", "code", "message"),
    [
        ("upstream", "invalid_contract", "an absolute folder (got 'upstream')"),
        (
            "git@github.com:acme/shop.git",
            "invalid_contract",
            "push.remote must be 'origin', an address that starts",
        ),
        ("http://github.com/acme/shop", "invalid_contract", "push.remote must be 'origin', an address that starts"),
        ("", "invalid_contract", "remote must not be empty"),
        ("https://github.com/acme/shop", "invalid_input", "an operator can add it to SISU_GIT_ALLOW"),
        ("https://me:token@github.com/acme/shop", "invalid_input", "use SISU_GIT_CREDENTIALS"),
        ("/srv/git/shop.git", "invalid_input", "an operator can add its folder to SISU_GIT_ALLOW"),
    ],
)
def test_a_remote_that_is_invalid_or_not_allowed_is_a_400_and_writes_nothing(
    api: Api, contents: Contents, remote: str, code: str, message: str
) -> None:
    before = contents()
    answer = api.post("/recipes", {**PUSHING, "push": {"remote": remote}})
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    (fault,) = answer.json()["details"]
    assert message in fault["message"]
    assert fault["pointer"].startswith("/push")
    assert "token" not in answer.text
    assert contents() == before


def test_an_intent_without_a_repository_cannot_run_with_a_recipe_that_pushes(api: Api, contents: Contents) -> None:
    assert api.post("/recipes", {**PUSHING, "push": {"remote": "origin"}}).status_code == 201
    intent = api.post("/intents", {"goal": "no repository", "inputs": {}, "constraints": {}}).json()["intentId"]
    before = contents()
    refused = api.post(f"/intents/{intent}/run", {"recipeName": "pushing", "queuePartitionKey": "a"})
    assert (refused.status_code, refused.json()["code"]) == (400, "queue_policy_violation")
    assert refused.json()["error"] == (
        "recipe pushing@1 pushes a branch, and the intent has no repository: name one in inputs.repo, or choose "
        "another recipe"
    )
    assert contents() == before


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"id": "Two"}, "id must be 1 to 64 lowercase letters"),
        ({"approvals": 0}, "approvals must be at least 1 (got 0)"),
        (
            {"approvals": 2, "approvers": {"people": ["ann"]}},
            "approvals must be at most the number of approvers, 1",
        ),
        ({"approvers": {}}, "name at least one person or group"),
        ({"approvers": {"people": ["ann", "ann"]}}, "name each person and each group once"),
        ({"approvers": {"people": ["sisu:deadline"]}}, "reserved for the system"),
        ({"longestDeadlineS": 2_592_001}, "longestDeadlineS must be at most 2592000 (got 2592001)"),
        ({"approvals": 2, "deadlineMayApprove": True}, "only where one approval by any person suffices"),
        ({"selfApproval": False, "deadlineMayApprove": True}, "only where one approval by any person suffices"),
        ({"approver": []}, "unknown field 'approver'; did you mean 'approvers'?"),
    ],
)
def test_a_policy_that_cannot_be_met_is_a_400_and_writes_nothing(
    api: Api, contents: Contents, policy: dict[str, Any], message: str
) -> None:
    before = contents()
    answer = api.post("/policies", {"id": "new", **policy})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_contract")
    assert any(message in detail["message"] for detail in answer.json()["details"])
    assert contents() == before


def test_operators_apply_and_every_role_reads(api: Api, client_of: As, contents: Contents) -> None:
    operator, approver = client_of("ops", Role.OPERATOR), client_of("ann", Role.APPROVER, Role.SUBMITTER)
    before = contents()
    for path, body in (("/policies", TWO), ("/recipes", RECIPE)):
        assert approver.post(path, json=body).status_code == 403
        assert approver.get(path).status_code == 200
    assert contents() == before
    stored = operator.post("/policies", json=TWO).json()
    assert (stored["appliedBy"], stored["channel"]) == ("ops", "api")
    assert operator.post("/recipes", json=RECIPE).json()["appliedBy"] == "ops"
    assert approver.get("/policies/two").json()["policies"][0]["appliedBy"] == "ops"
    assert approver.get("/policies/three").status_code == 404
    assert approver.get("/recipes/three").status_code == 404


def test_versions_that_are_applied_at_once_follow_each_other(api: Api) -> None:
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda n: api.post("/policies", {"id": "raced", "approvals": n}), range(1, 7)))
    assert sorted(answer.json()["version"] for answer in answers) == [1, 2, 3, 4, 5, 6]


def test_the_commands_of_the_page_about_the_gate_apply_its_policy_and_recipe(api: Api, tmp_path: Path) -> None:
    page = MarkdownPage(DOCS / "human-gate.md")
    documents = [json.loads(block.text) for block in page.blocks if block.language == "json"]
    for name, document in zip(("policy.json", "recipe.json"), documents, strict=False):
        (tmp_path / name).write_text(json.dumps(document))
    (commands,) = (block.text for block in page.blocks if "sisu policy apply" in block.text)
    printed = [
        sisu(api, *shlex.split(line, comments=True)[1:], folder=tmp_path) for line in commands.strip().splitlines()
    ]
    assert printed[0].startswith("two-people@1 is the newest version")
    assert printed[1].startswith("sandbox-default@2 is the newest version")
    assert "ann, bob, group leads" in printed[2]
    assert '"approvals": 2' in printed[3]
    assert "sandbox-default@2" in printed[4]
    assert sisu(api, "policy", "apply", "policy.json", folder=tmp_path).endswith("(unchanged)\n")
    assert "compile-default@1" in sisu(api, "recipe", "list")
    token = a_token(api.dependencies.database, "dan", Role.SUBMITTER)
    refused = api.client.post(
        f"/intents/{api.client.post('/intents', json=_intent(), headers=_bearer(token)).json()['intentId']}/run",
        json={"recipeName": "sandbox-default", "queuePartitionKey": "a"},
        headers=_bearer(token),
    )
    assert refused.json()["error"].startswith("dan is not a submitter of policy two-people@1")


def _intent() -> dict[str, Any]:
    return {"goal": "documented", "inputs": {}, "constraints": {}}


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
