"""A page of another origin in a real Chromium reads and changes nothing at either port, whatever it sends.

`test_dagster_port.py` has images, forms, fetch and WebSockets; here are frames, windows, prefetching, beacons,
preflights, scripts, event streams and bodies whose type hides JSON.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from resources.database import Database
from sisu_pipeline.console.api_client import Api
from sisu_pipeline.proof.harness.lab_stack import LabStack
from tests.e2e.browser import CHROMIUM, browser
from tests.e2e.conftest import until
from tests.e2e.test_dagster_port import attacker, mutation, unharmed, waiting
from tests.e2e.test_gate import start, status

__all__ = ["unharmed", "waiting"]

EVIL, OTHER = "evil.example", "other.example"

_PAGE = Path(__file__).with_name("foreign_page.html")


@pytest.fixture
def unchanged(stack_database: Database) -> Iterator[None]:
    """No attack submits, decides, cancels or applies anything."""
    before = _rows(stack_database)
    yield
    assert _rows(stack_database) == before


def _rows(database: Database) -> list[Any]:
    with database.connect() as connection:
        found = connection.execute(
            "SELECT (SELECT count(*) FROM app.intents) AS intents, "
            "(SELECT count(*) FROM app.policies) AS policies, "
            "(SELECT count(*) FROM app.human_interactions) AS interactions, "
            "(SELECT count(*) FROM app.run_changes WHERE to_status = 'canceled') AS canceled"
        )
        return found.fetchall()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
@pytest.mark.usefixtures("unharmed", "unchanged")
def test_frames_windows_beacons_prefetching_and_disguised_bodies_reach_nothing(
    stack: LabStack, waiting: str, tmp_path: Path
) -> None:
    ports = stack.settings
    configuration = {
        "api": stack.url,
        "dagster": stack.admin_url,
        "apiByName": f"http://{OTHER}:{ports.port}",
        "dagsterByName": f"http://{OTHER}:{ports.admin_port}",
        "run": waiting,
        "approval": json.dumps({"approvedBy": "ceo", "notes": ""}),
        "intent": json.dumps({"goal": "of another page", "inputs": {}, "constraints": {"a": ""}}),
        "policy": json.dumps({"approvals": 1, "id": "anyone", "note": ""}),
        "mutation": json.dumps({"query": mutation(waiting), "operationName": ""}),
    }
    page = _PAGE.read_text().replace("CONFIGURATION", json.dumps(configuration), 1)
    rules = f"--host-resolver-rules=MAP {EVIL} 127.0.0.1, MAP {OTHER} 127.0.0.1"
    flags = (rules, "--disable-popup-blocking")
    with attacker(page) as (port, reports), browser(tmp_path, *flags) as chromium:
        chromium.open(f"http://{EVIL}:{port}/")
        until(lambda: "done" in reports, "the page has tried all")
        assert [each for each in reports if each.startswith("read")] == []
        # Every attempt was made, and refused.
        kinds = {each.split()[1] for each in reports if each.startswith("refused")}
        assert {"fetch", "script", "sheet", "frame", "window", "stream", "socket", "text/plain", "put"} <= kinds


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "GET"])
def test_a_preflight_allows_nothing(stack: LabStack, api: Api, origin: str, method: str) -> None:
    run = start(api, f"Preflight {method} {origin}", {}, ["t1"])
    until(lambda: status(api, run) == ("waiting_input", "APPROVE_PLAN"), "it waits for approval")
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "content-type, authorization",
        "Access-Control-Request-Private-Network": "true",
    }
    for url in (f"{stack.url}/runs/{run}/approve-plan", f"{stack.url}/intents", f"{stack.admin_url}/graphql"):
        answer = httpx.options(url, headers=headers, trust_env=False)
        assert answer.status_code in (403, 405)
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
@pytest.mark.usefixtures("unchanged")
def test_a_page_of_another_origin_approves_with_no_content_type(
    stack: LabStack, waiting: str, content_type: str
) -> None:
    headers = {"Origin": "http://evil.example", "Content-Type": content_type}
    body = json.dumps({"approvedBy": "ceo"})
    for site in ({}, {"Sec-Fetch-Site": "cross-site"}):
        url = f"{stack.url}/runs/{waiting}/approve-plan"
        assert httpx.post(url, headers=headers | site, content=body, trust_env=False).status_code == 403
