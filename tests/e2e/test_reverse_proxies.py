"""People reach a whole stack through nginx and Apache as docs/reverse-proxy.md configures them."""

import base64
import json
import socket
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from selenium.webdriver.common.keys import Keys
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from sisu_pipeline.console.api_client import Api
from sisu_pipeline.proof.harness.lab_stack import LabStack, lab_stack
from tests.e2e.browser import CHROMIUM, browser
from tests.e2e.conftest import run_sisu, until
from tests.e2e.test_gate import start, status
from tests.support.reverse_proxies import PASSWORD, PROGRAMS, ReverseProxy, asset_paths, free_port, reverse_proxy

# A stack of its own.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(None in PROGRAMS.values(), reason="needs Debian's nginx and apache2"),
]

BASIC = "Basic " + base64.b64encode(":".join(PASSWORD).encode()).decode()
_WHO = ("Cookie", "Authorization")


@dataclass(frozen=True)
class Proxied:
    """A stack that is reached as sisu.example.org and dagster.example.org on one port, and an approver's token."""

    stack: LabStack
    port: int
    token: str = field(repr=False)

    def waiting(self, goal: str) -> str:
        """A run that waits for approval."""
        api = Api(self.stack.url, self.token)
        run = start(api, goal, {}, ["t1"])
        until(lambda: status(api, run) == ("waiting_input", "APPROVE_PLAN"), "it waits for approval")
        api.close()
        return run

    def until_succeeded(self, run: str) -> dict[str, Any]:
        """The view of the run at its end."""
        api = Api(self.stack.url, self.token)
        until(lambda: status(api, run)[0] == "succeeded", "it succeeds")
        view: dict[str, Any] = api.get("runs", run)
        api.close()
        return view


@pytest.fixture(scope="module")
def proxied() -> Iterator[Proxied]:
    port = free_port()
    variables = {
        "OC_MODE": "replay",
        "SBX_MODE": "mock",
        "SISU_PUBLIC_URL": f"https://sisu.example.org:{port}",
        "SISU_DAGSTER_URL": f"https://dagster.example.org:{port}",
    }
    with (
        tempfile.TemporaryDirectory(prefix="sisu-e2e-", ignore_cleanup_errors=True) as folder,
        lab_stack(Path(folder), variables, workers=1) as running,
    ):
        roles = [part for role in ("viewer", "submitter", "approver", "operator") for part in ("--role", role)]
        made = run_sisu(running.environment, "token", "create", "ann", *roles, "--json").document
        yield Proxied(running, port, made["token"])


@pytest.mark.parametrize("asks_password", [False, True], ids=["open", "basic-auth"])
@pytest.mark.parametrize("kind", ["nginx", "apache2"])
def test_a_person_signs_in_approves_and_reads_through_a_proxy(
    proxied: Proxied, kind: str, asks_password: bool
) -> None:
    run = proxied.waiting(f"Approved through {kind}, {'with' if asks_password else 'without'} a password")
    with (
        reverse_proxy(kind, proxied.stack, proxied.port, asks_password=asks_password) as proxy,
        proxy.client("sisu") as client,
    ):
        if asks_password:
            assert client.get("/").status_code == 401
            client.headers["Authorization"] = BASIC
        _loads_the_page(client, proxied.port)
        _signs_in(client, proxied)
        _approves(client, proxied.port, run)
        assert proxied.until_succeeded(run)["decision"]["decidedBy"] == "ann"
        _reads_an_artifact(client, run)
        _reads_the_stream(client)
        _reads_dagster(proxy, client, proxied)


def _loads_the_page(client: httpx.Client, port: int) -> None:
    page = client.get("/")
    assert page.status_code == 200
    paths = asset_paths(page.text)
    assert paths
    for path in paths:
        # A browser names the page's origin when it loads a module.
        assert client.get(path, headers={"Origin": f"https://sisu.example.org:{port}"}).status_code == 200, path


def _signs_in(client: httpx.Client, proxied: Proxied) -> None:
    assert client.get("/inbox").status_code == 401
    origin = {"Origin": f"https://sisu.example.org:{proxied.port}"}
    answer = client.post("/session/cookie", json={"token": proxied.token}, headers=origin)
    assert answer.status_code == 204, answer.text
    # httpx does not send a `Secure` cookie that belongs to another name than the address: it is named by hand.
    (cookie,) = client.cookies.jar
    client.headers["Cookie"] = f"{cookie.name}={cookie.value}"
    assert cookie.secure
    assert client.get("/inbox").status_code == 200


def _approves(client: httpx.Client, port: int, run: str) -> None:
    plan = client.get(f"/runs/{run}/plan").json()
    body = {"approvedBy": "ann", "planSha256": plan["planSha256"]}
    elsewhere = client.post(f"/runs/{run}/approve-plan", json=body, headers={"Origin": "https://evil.example"})
    assert elsewhere.status_code == 403
    answer = client.post(
        f"/runs/{run}/approve-plan", json=body, headers={"Origin": f"https://sisu.example.org:{port}"}
    )
    assert answer.status_code == 202, answer.text


def _reads_an_artifact(client: httpx.Client, run: str) -> None:
    uris = [each["uri"] for each in client.get(f"/runs/{run}").json()["artifacts"]]
    path = uris[0].removeprefix("artifact://")
    plain = client.get(f"/artifacts/{path}")
    assert plain.status_code == 200
    encoded = client.get("/artifacts/artifact%3A%2F%2F" + path.replace("/", "%2F"))
    assert encoded.status_code == 200
    assert encoded.content == plain.content


def _reads_the_stream(client: httpx.Client) -> None:
    with client.stream("GET", "/inbox/events") as events:
        assert events.status_code == 200, events.read()
        assert events.headers["content-type"].startswith("text/event-stream")
        assert next(events.iter_lines()) is not None


def _reads_dagster(proxy: ReverseProxy, client: httpx.Client, proxied: Proxied) -> None:
    with proxy.client("dagster") as dagster:
        if "Authorization" in client.headers:
            dagster.headers["Authorization"] = BASIC
        dagster.headers["Cookie"] = client.headers["Cookie"]
        assert dagster.get("/server_info").status_code == 401, "another host name is another session"
        origin = f"https://dagster.example.org:{proxied.port}"
        signed = dagster.post("/sign-in/session", json={"token": proxied.token}, headers={"Origin": origin})
        assert signed.status_code == 204, signed.text
        cookies = [f"{cookie.name}={cookie.value}" for cookie in dagster.cookies.jar]
        dagster.headers["Cookie"] = "; ".join(cookies)
        assert dagster.get("/server_info").status_code == 200
        answer = dagster.post("/graphql", json={"query": "{ version }"}, headers={"Origin": origin})
        assert answer.status_code == 200, answer.text
        _subscribes(proxied.port, {name: dagster.headers[name] for name in _WHO if name in dagster.headers})


def _subscribes(port: int, headers: dict[str, str]) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with connect(
        f"wss://dagster.example.org:{port}/graphql",
        sock=socket.create_connection(("127.0.0.1", port), timeout=10),
        ssl=context,
        origin=Origin(f"https://dagster.example.org:{port}"),
        subprotocols=[Subprotocol("graphql-ws")],
        additional_headers=headers,
        open_timeout=10,
    ) as channel:
        channel.send(json.dumps({"type": "connection_init"}))
        assert json.loads(channel.recv(timeout=10))["type"] == "connection_ack"


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
def test_a_browser_approves_behind_a_proxy_that_asks_for_a_password(proxied: Proxied, tmp_path: Path) -> None:
    run = proxied.waiting("Approved in a browser behind a proxy")
    user, password = PASSWORD
    flags = ("--host-resolver-rules=MAP *.example.org 127.0.0.1", "--ignore-certificate-errors")
    with (
        reverse_proxy("nginx", proxied.stack, proxied.port, asks_password=True),
        browser(tmp_path, *flags) as chromium,
    ):
        # The browser keeps the password. A page whose own address contains one may send no requests.
        chromium.open(f"https://{user}:{password}@sisu.example.org:{proxied.port}")
        chromium.open(f"https://sisu.example.org:{proxied.port}/#/runs/{run}")
        chromium.type("input[name=token]", proxied.token + Keys.ENTER)
        chromium.one("#who", "ann")
        chromium.one("button", "Approve").click()
        assert proxied.until_succeeded(run)["decision"]["decidedBy"] == "ann"
