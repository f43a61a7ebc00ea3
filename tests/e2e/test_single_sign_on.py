"""A whole stack whose people sign in with an identity provider, at both ports, in a real browser."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sisu_pipeline.console.api_client import Api
from sisu_pipeline.proof.harness.lab_stack import LabStack, lab_stack
from tests.e2e.browser import CHROMIUM, browser
from tests.e2e.conftest import run_sisu, until
from tests.e2e.test_gate import start, status
from tests.e2e.test_gate_graphql import Dagster
from tests.support.identity_provider import CLIENT_ID, CLIENT_SECRET, IdentityProvider, identity_provider

# A stack of its own.
pytestmark = pytest.mark.slow

ROLES = {"approver": ["platform"], "viewer": ["*"]}


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    with identity_provider() as running:
        yield running


@pytest.fixture(scope="module")
def signed_on(provider: IdentityProvider) -> Iterator[LabStack]:
    variables = {
        "OC_MODE": "replay",
        "SBX_MODE": "mock",
        "SISU_OIDC_ISSUER": provider.issuer,
        "SISU_OIDC_CLIENT_ID": CLIENT_ID,
        "SISU_OIDC_CLIENT_SECRET": CLIENT_SECRET,
        "SISU_GROUP_ROLES": json.dumps(ROLES),
    }
    with (
        tempfile.TemporaryDirectory(prefix="sisu-e2e-", ignore_cleanup_errors=True) as folder,
        lab_stack(Path(folder), variables, workers=1) as running,
    ):
        yield running


def test_a_person_who_signed_in_at_dagsters_port_decides_there_under_their_name(signed_on: LabStack) -> None:
    made = run_sisu(signed_on.environment, "token", "create", "sam", "--role", "submitter", "--json").document
    api = Api(signed_on.url, made["token"])
    run = start(api, "Approved in Dagster by a person of the provider", {}, ["t1"])
    until(lambda: status(api, run) == ("waiting_input", "APPROVE_PLAN"), "it waits for approval")
    with httpx.Client(base_url=signed_on.admin_url, trust_env=False, timeout=30) as client:
        assert client.get("/server_info").status_code == 401
        assert "Sign in with your organization" in client.get("/sign-in").text
        assert client.get("/sign-in/provider", follow_redirects=True).status_code == 200
        assert client.get("/server_info").status_code == 200
        stop = {"query": "mutation { stopSensor { __typename } }"}
        assert client.post("/graphql", json=stop).status_code == 403
        session = client.cookies[f"sisu_session_{signed_on.settings.port}"]
    dagster = Dagster(signed_on.admin_url, headers={"Cookie": f"sisu_session_{signed_on.settings.port}={session}"})
    assert dagster.job("approve_plan", {"run_id": run, "decided_by": "ceo"}) == "SUCCESS"
    until(lambda: status(api, run)[0] == "succeeded", "it succeeds")
    assert api.get("runs", run)["decision"]["decidedBy"] == "ann@example.org"
    api.close()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
def test_a_person_signs_in_on_the_inbox_and_is_known_to_dagsters_pages(signed_on: LabStack, tmp_path: Path) -> None:
    with browser(tmp_path) as chromium:
        chromium.open(signed_on.url)
        chromium.one("a.provider", "Sign in with your organization").click()
        chromium.one("#who", "ann@example.org (approver, viewer)")
        chromium.open(f"{signed_on.admin_url}/runs")
        chromium.one("body", "Runs")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
def test_a_person_signs_in_on_dagsters_page(signed_on: LabStack, tmp_path: Path) -> None:
    with browser(tmp_path) as chromium:
        chromium.open(f"{signed_on.admin_url}/runs")
        chromium.one("#provider a", "Sign in with your organization").click()
        chromium.one("body", "Runs")
