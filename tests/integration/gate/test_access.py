"""Tokens and roles: who may read, who may decide, and under which name."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import APIRouter

from resources.database import Database
from sisu_pipeline.api.auth.guarded_route import GuardedRoute
from sisu_pipeline.api.server import check_host
from sisu_pipeline.contracts.access import Role
from sisu_pipeline.domain.canonical import sha256_hex
from sisu_pipeline.domain.setting_errors import SettingsError
from sisu_pipeline.store.access import tokens
from tests.builders import a_run
from tests.integration.api.conftest import Api
from tests.integration.gate.conftest import As, a_token

INTENT = {"goal": "g", "inputs": {}, "constraints": {}}
APPROVE = {"approvedBy": "somebody else"}
Contents = Callable[[], dict[str, str]]


def test_without_tokens_requests_of_this_machine_may_do_everything_under_any_name(api: Api) -> None:
    session = api.get("/session").json()
    assert session["owner"] is None
    assert session["roles"] == sorted(Role)
    with api.dependencies.database.connect() as connection:
        run = a_run(connection)
    assert api.post(f"/runs/{run.id}/approve-plan", APPROVE).status_code == 202
    assert api.get(f"/runs/{run.id}").json()["decision"]["decidedBy"] == "somebody else"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer sisu_unknown"},
        {"Authorization": "sisu_ann"},
        {"Authorization": "Basic c2lzdV9hbm4="},
        {"Cookie": "sisu_token=sisu_unknown"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/runs"), ("POST", "/intents"), ("GET", "/openapi.json"), ("GET", "/nowhere"), ("GET", "/session")],
)
def test_with_any_token_a_request_without_a_known_one_is_a_401_and_writes_nothing(
    api: Api, contents: Contents, method: str, path: str, headers: dict[str, str]
) -> None:
    a_token(api.dependencies.database, "ann", Role.SUBMITTER)
    before = contents()
    answer = api.client.request(method, path, json=INTENT, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json() == {
        "error": "a token is required: send Authorization: Bearer …",
        "code": "unauthorized",
        "details": [],
    }
    assert contents() == before


def test_a_revoked_token_is_unknown_at_once_and_tokens_stay_needed(api: Api, client_of: As) -> None:
    ann = client_of("ann")
    assert ann.get("/runs").status_code == 200
    with api.dependencies.database.connect() as connection:
        first = tokens.revoke(connection, tokens.every(connection)[0].id)
        assert tokens.revoke(connection, first.id) == first
    assert ann.get("/runs").status_code == 401
    assert api.get("/runs").status_code == 401


@pytest.mark.parametrize("role", list(Role))
def test_every_role_may_read_and_change_only_what_it_is_meant_for(
    api: Api, client_of: As, contents: Contents, role: Role
) -> None:
    with api.dependencies.database.connect() as connection:
        run = a_run(connection)
    client = client_of("ann", role)
    assert client.get("/runs").status_code == 200
    wanted = {
        "/intents": (Role.SUBMITTER, INTENT),
        f"/intents/{run.intent_id}/run": (Role.SUBMITTER, {"queuePartitionKey": "team-a"}),
        f"/runs/{run.id}/approve-plan": (Role.APPROVER, APPROVE),
    }
    for path, (needed, body) in wanted.items():
        before = contents()
        answer = client.post(path, json=body)
        if role is needed:
            assert answer.is_success
        else:
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
            assert answer.json()["error"] == f"this request needs the role {needed}; your token has {role}"
            assert contents() == before


def test_the_role_is_checked_before_the_body_is_read(client_of: As) -> None:
    assert client_of("ann", Role.VIEWER).post("/intents", content=b"{").status_code == 403


def test_the_approver_is_the_tokens_owner_whatever_the_body_says(api: Api, client_of: As) -> None:
    with api.dependencies.database.connect() as connection:
        run = a_run(connection)
    ann = client_of("ann", Role.APPROVER)
    assert ann.post(f"/runs/{run.id}/approve-plan", json=APPROVE).status_code == 202
    assert ann.get(f"/runs/{run.id}").json()["decision"]["decidedBy"] == "ann"


def test_the_submitter_is_kept_with_the_intent_and_the_run(api: Api, client_of: As) -> None:
    bob, eve = client_of("bob", Role.SUBMITTER), client_of("eve", Role.SUBMITTER)
    for client in (bob, eve):
        intent = client.post("/intents", json=INTENT).json()["intentId"]
        assert client.post(f"/intents/{intent}/run", json={"queuePartitionKey": "a"}).status_code == 202
    with api.dependencies.database.connect() as connection:
        kept = connection.execute(
            "SELECT i.submitted_by AS intent, r.submitted_by AS run FROM app.intents i JOIN app.runs r"
            " ON r.intent_id = i.id"
        ).fetchone()
    assert kept == {"intent": "bob", "run": "bob"}


def test_the_database_stores_no_token_in_clear(api: Api) -> None:
    text = a_token(api.dependencies.database, "ann")
    with api.dependencies.database.connect() as connection:
        row = connection.execute("SELECT t::text AS line, sha256 FROM app.api_tokens t").fetchone()
    assert row is not None
    assert text not in row["line"]
    assert row["sha256"] == sha256_hex(text)


def test_a_page_trades_its_token_for_a_cookie_no_script_and_no_other_site_can_use(api: Api) -> None:
    text = a_token(api.dependencies.database, "ann", Role.SUBMITTER)
    with httpx.Client(base_url=api.url) as page:
        assert page.post("/session/cookie", json={"token": "sisu_wrong"}).status_code == 401
        entered = page.post("/session/cookie", json={"token": text})
        assert entered.status_code == 204
        cookie = entered.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert page.get("/session").json()["owner"] == "ann"
        # A cookie comes with every request of the browser: one that changes something must name our own origin.
        refused = page.post("/intents", json=INTENT)
        assert (refused.status_code, refused.json()["code"]) == (403, "foreign_origin")
        elsewhere = page.post("/intents", json=INTENT, headers={"Origin": "https://elsewhere.example"})
        assert (elsewhere.status_code, elsewhere.json()["code"]) == (403, "foreign_origin")
        assert page.post("/intents", json=INTENT, headers={"Origin": api.url}).status_code == 201
        assert page.post("/session/close", headers={"Origin": api.url}).status_code == 204
        assert page.get("/session").status_code == 401


def test_behind_an_https_proxy_the_cookie_is_secure(api: Api) -> None:
    text = a_token(api.dependencies.database, "ann")
    headers = {"Host": "sisu.example.org", "Origin": "https://sisu.example.org"}
    entered = api.client.post("/session/cookie", json={"token": text}, headers=headers)
    assert entered.status_code == 204
    assert "secure" in entered.headers["set-cookie"].lower()


def test_without_tokens_no_cookie_is_set(api: Api) -> None:
    answer = api.post("/session/cookie", {"token": "anything"})
    assert answer.status_code == 204
    assert "set-cookie" not in answer.headers


def test_with_tokens_another_host_name_is_accepted_but_a_cross_site_page_is_not(api: Api, client_of: As) -> None:
    ann = client_of("ann")
    assert ann.get("/runs", headers={"Host": "sisu.example.org"}).status_code == 200
    assert ann.get("/runs", headers={"Origin": "https://elsewhere.example"}).status_code == 403


def test_health_needs_no_token(api: Api) -> None:
    a_token(api.dependencies.database, "ann")
    assert api.get("/healthz").json() == {"ok": True}


def test_a_route_without_a_rule_cannot_be_made() -> None:
    router = APIRouter(route_class=GuardedRoute)
    with pytest.raises(TypeError, match="add anything to contracts/access_rules"):

        @router.get("/anything")
        def anything() -> dict[str, Any]:
            return {}


def test_other_machines_are_admitted_only_when_there_are_tokens() -> None:
    with pytest.raises(SettingsError, match="sisu token create"):
        check_host("0.0.0.0", has_tokens=False)
    check_host("0.0.0.0", has_tokens=True)


def test_the_first_token_is_made_shown_once_listed_and_revoked_at_the_terminal(clean_database: Database) -> None:
    def sisu(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sisu_pipeline.cli", "token", *words]
        environment = {"PATH": "/usr/bin:/bin", "DATABASE_URL": clean_database.url}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    made = sisu("create", "ann", "--role", "approver", "--role", "viewer")
    assert made.returncode == 0, made.stderr
    token, line = made.stdout.splitlines()
    assert token.startswith("sisu_")
    assert len(bytes.fromhex(token.removeprefix("sisu_"))) == 32
    with clean_database.connect() as connection:
        assert tokens.look_up(connection, token).owner == "ann"
    listed = sisu("list").stdout
    assert "approver,viewer" in listed
    assert token not in listed
    identifier = line.split()[0]
    assert "revoked" in sisu("revoke", identifier).stdout
    with clean_database.connect() as connection:
        assert tokens.look_up(connection, token).owner is None
    assert sisu("revoke", "tok_none").returncode == 1
    assert sisu("create", " ", "--role", "viewer").returncode == 1
