"""Dagster's port with tokens: who signs in, who may read, and what each role may change."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect

from sisu_pipeline.api.auth.authentication import RECHECK_S
from sisu_pipeline.console.api_client import Api
from sisu_pipeline.contracts.access import Role
from sisu_pipeline.contracts.access_rules import JOB_RULES, LAUNCHES, MUTATION_RULES, OTHER_JOBS, Audience
from sisu_pipeline.database_server import locate
from sisu_pipeline.engine.webserver import GuardedWebserver
from sisu_pipeline.proof.harness.lab_stack import LabStack, lab_stack
from tests.e2e.browser import CHROMIUM, Browser, browser
from tests.e2e.conftest import run_sisu, until
from tests.e2e.test_dagster_port import GRAPHQL_WS, mutation
from tests.e2e.test_gate import start, status
from tests.e2e.test_gate_graphql import Dagster

# A stack of its own.
pytestmark = pytest.mark.slow

PEOPLE = {"ann": Role.APPROVER, "olga": Role.OPERATOR, "vera": Role.VIEWER, "sam": Role.SUBMITTER}
STRANGERS = {
    "no token": {},
    "wrong token": {"Authorization": "Bearer sisu_wrong"},
    "revoked token": {"Authorization": "Bearer {revoked}"},
    "another scheme": {"Authorization": "Basic c2lzdV92aWV3ZXI6"},
    "no session": {"Cookie": "sisu_session_{port}=unknown"},
}
_MUTATIONS = "{ __schema { mutationType { fields { name } } } }"


Guarded = tuple[LabStack, dict[str, str]]


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    """A stack with tokens: ann may approve, olga operates, vera reads, sam submits."""
    with (
        tempfile.TemporaryDirectory(prefix="sisu-e2e-", ignore_cleanup_errors=True) as folder,
        lab_stack(Path(folder), {"OC_MODE": "replay", "SBX_MODE": "mock"}, workers=1) as running,
    ):
        made = {
            person: run_sisu(running.environment, "token", "create", person, "--role", role, "--json")
            for person, role in PEOPLE.items()
        }
        revoked = run_sisu(running.environment, "token", "create", "eve", "--role", "operator", "--json").document
        assert run_sisu(running.environment, "token", "revoke", revoked["id"]).status == 0
        people = {person: each.document["token"] for person, each in made.items()}
        yield running, {**people, "revoked": revoked["token"]}


def _client(stack: LabStack, token: str | None) -> httpx.Client:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=stack.admin_url, headers=headers, trust_env=False, timeout=30, verify=False)


@pytest.mark.parametrize(("person", "status"), [(None, 401), ("unknown", 401), ("vera", 200), ("ann", 200)])
def test_with_tokens_everyone_signs_in_to_read(guarded: Guarded, person: str | None, status: int) -> None:
    stack, tokens = guarded
    with _client(stack, None if person is None else tokens.get(person, person)) as client:
        assert client.post("/graphql", json={"query": "{ version }"}).status_code == status
        assert client.get("/server_info").status_code == status


def test_a_session_signs_a_browser_in_and_ends_with_its_token(guarded: Guarded) -> None:
    stack, _ = guarded
    made = run_sisu(stack.environment, "token", "create", "eva", "--role", "viewer", "--json").document
    with _client(stack, None) as client:
        page = client.get("/runs", headers={"Accept": "text/html"})
        assert (page.status_code, page.headers["location"]) == (303, "/sign-in")
        assert client.get("/sign-in").status_code == 200
        assert client.post("/sign-in/session", json={"token": "wrong"}).status_code == 401
        signed = client.post("/sign-in/session", json={"token": made["token"]})
        assert signed.status_code == 204
        assert made["token"] not in signed.headers["set-cookie"]
        assert client.get("/runs", headers={"Accept": "text/html"}).status_code == 200
        stolen = client.cookies[f"sisu_session_{stack.settings.port}"]
        assert (
            httpx.get(f"{stack.admin_url}/server_info", headers={"Authorization": f"Bearer {stolen}"}).status_code
            == 401
        )
        assert run_sisu(stack.environment, "token", "revoke", made["id"]).status == 0
        assert client.get("/server_info").status_code == 401


def test_a_decision_in_dagster_needs_the_role_and_carries_the_signed_in_person(
    guarded: Guarded,
) -> None:
    stack, tokens = guarded
    api = Api(stack.url, tokens["sam"])
    run = start(api, "Approved in Dagster by the person who signed in", {}, ["t1"])
    until(lambda: status(api, run) == ("waiting_input", "APPROVE_PLAN"), "it waits for approval")
    for person in ("vera", "sam", "olga"):
        with _client(stack, tokens[person]) as client:
            assert client.post("/graphql", json={"query": mutation(run)}).status_code == 403
    forged = {"key": "sisu/person", "value": "ceo"}
    dagster = Dagster(stack.admin_url, tokens["ann"])
    assert dagster.job("approve_plan", {"run_id": run, "decided_by": "ceo"}, tags=[forged]) == "SUCCESS"
    until(lambda: status(api, run)[0] == "succeeded", "it succeeds")
    assert api.get("runs", run)["decision"]["decidedBy"] == "ann"
    api.close()
    with locate(stack.settings).connect() as connection:
        tags = connection.execute(
            "SELECT DISTINCT value FROM dagster.run_tags WHERE key = 'sisu/person'"
        ).fetchall()
    assert [row["value"] for row in tags] == ["ann"]


def test_a_subscription_ends_within_seconds_of_its_tokens_revocation(guarded: Guarded) -> None:
    stack, _ = guarded
    made = run_sisu(stack.environment, "token", "create", "wes", "--role", "viewer", "--json").document
    url = f"{stack.admin_url.replace('http', 'ws')}/graphql"
    headers = {"Authorization": f"Bearer {made['token']}"}
    with connect(url, additional_headers=headers, subprotocols=[GRAPHQL_WS]) as socket:
        socket.send('{"type": "connection_init"}')
        query = "subscription { locationStateChangeEvents { __typename } }"
        socket.send(f'{{"type": "start", "id": "1", "payload": {{"query": "{query}"}}}}')
        assert "connection_ack" in str(socket.recv(timeout=10))
        with pytest.raises(TimeoutError):
            while True:  # it lives beyond a recheck
                socket.recv(timeout=RECHECK_S + 1)
        assert run_sisu(stack.environment, "token", "revoke", made["id"]).status == 0
        with pytest.raises(ConnectionClosed):
            while True:
                socket.recv(timeout=RECHECK_S + 5)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
def test_a_person_signs_in_on_the_page(guarded: Guarded, tmp_path: Path) -> None:
    stack, tokens = guarded
    with browser(tmp_path) as chromium:
        chromium.open(f"{stack.admin_url}/runs")
        _sign_in(chromium, "wrong")
        chromium.one("#problem", "unknown or revoked")
        _sign_in(chromium, tokens["vera"])
        chromium.one("body", "Runs")


def _sign_in(chromium: Browser, token: str) -> None:
    chromium.type("#token", token)
    chromium.one("button", "Sign in").click()


def _strangers(guarded: Guarded) -> dict[str, dict[str, str]]:
    stack, tokens = guarded
    values = {"revoked": tokens["revoked"], "port": stack.settings.port}
    return {who: {k: v.format(**values) for k, v in headers.items()} for who, headers in STRANGERS.items()}


def _ask(stack: LabStack, headers: dict[str, str], query: str, variables: Any = None) -> httpx.Response:
    body = {"query": query, "variables": variables}
    return httpx.post(f"{stack.admin_url}/graphql", json=body, headers=headers, trust_env=False, timeout=30)


def _kind(answer: httpx.Response) -> str:
    """Refused by a rule, or passed on to Dagster, which finds the document invalid and executes nothing."""
    if answer.status_code in (401, 403):
        return {401: "unauthorized", 403: "forbidden"}[answer.status_code]
    messages = [error["message"] for error in answer.json()["errors"]]
    assert answer.json().get("data") is None
    assert any(message.startswith(("Unknown argument", "Unknown type")) for message in messages), messages
    return "served"


def _expected(rule: Role | Audience) -> dict[str, str]:
    admitted = {
        person: "served" if rule in (role, Audience.SIGNED_IN) else "forbidden" for person, role in PEOPLE.items()
    }
    return {**dict.fromkeys(STRANGERS, "unauthorized"), **admitted}


def _matrix(guarded: Guarded, query: str, variables: Any = None) -> dict[str, str]:
    stack, tokens = guarded
    callers = {**_strangers(guarded), **{who: {"Authorization": f"Bearer {tokens[who]}"} for who in PEOPLE}}
    return {who: _kind(_ask(stack, headers, query, variables)) for who, headers in callers.items()}


def test_every_mutation_of_the_running_server_is_open_to_those_its_rule_names(guarded: Guarded) -> None:
    stack, tokens = guarded
    schema = _ask(stack, {"Authorization": f"Bearer {tokens['vera']}"}, _MUTATIONS).json()["data"]["__schema"]
    names = {field["name"] for field in schema["mutationType"]["fields"]}
    assert names == set(MUTATION_RULES) | LAUNCHES
    for name in sorted(names):
        answers = _matrix(guarded, f"mutation {{ {name}(noSuchArgument: 1) {{ __typename }} }}")
        assert answers == _expected(MUTATION_RULES.get(name, OTHER_JOBS)), name


@pytest.mark.parametrize("job", [*JOB_RULES, "another_job"])
def test_every_job_is_launched_by_those_its_rule_names(guarded: Guarded, job: str) -> None:
    for launch in sorted(LAUNCHES):
        many = launch == "launchMultipleRuns"
        argument = "executionParamsList: [$p]" if many else "executionParams: $p"
        query = f"mutation L($p: NoSuchType) {{ {launch}({argument}) {{ __typename }} }}"
        answers = _matrix(guarded, query, {"p": {"selector": {"jobName": job}}})
        assert answers == _expected(JOB_RULES.get(job, OTHER_JOBS)), launch


def test_no_path_of_dagsters_server_is_served_to_a_stranger(guarded: Guarded) -> None:
    stack, _ = guarded
    for headers in _strangers(guarded).values():
        with httpx.Client(base_url=stack.admin_url, headers=headers, trust_env=False, verify=False) as stranger:
            for path in _paths():
                for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"):
                    assert stranger.request(method, path).status_code == 401, (method, path)
        with pytest.raises(InvalidHandshake):
            url = f"{stack.admin_url.replace('http', 'ws')}/graphql"
            with connect(url, additional_headers=headers, subprotocols=[GRAPHQL_WS]):
                pass


def _paths() -> list[str]:
    """A path of every route that Dagster's server has; nothing is served by this instance."""
    server = GuardedWebserver.__new__(GuardedWebserver)
    server._app_path_prefix = ""
    routes: list[BaseRoute] = server.build_routes()
    paths = [route.path for route in routes if isinstance(route, Route | Mount | WebSocketRoute)]
    assert {"/graphql", "/download_debug/{run_id:str}", "/logs/{path:path}", "/notebook"} <= set(paths)
    return [path.partition("{")[0] + ("x" if "{" in path else "") for path in paths]
