"""`sisu lab e2b-smoke` against our test server instead of the real E2B."""

from typing import Any

import pytest
from typer.testing import CliRunner

from sisu_pipeline import settings as settings_module
from sisu_pipeline.cli.proof_commands.lab_commands import app
from sisu_pipeline.proof.labs import e2b_smoke
from sisu_pipeline.settings import load_settings
from tests.support.e2b.client import E2bServer
from tests.support.e2b.server import API_KEY

# The test server does not isolate: it cannot take the network away.
CHECKS = {name: check for name, check in e2b_smoke.CHECKS.items() if name != "no network"}


@pytest.mark.slow
def test_the_smoke_checks_pass_on_the_test_server(e2b_server: E2bServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(e2b_smoke, "CHECKS", CHECKS)
    configuration = load_settings(
        {
            "E2B_API_KEY": API_KEY,
            "E2B_API_URL": e2b_server.url,
            "E2B_SANDBOX_URL": e2b_server.url,
            "E2B_CREATES_PER_SECOND": "100",
        }
    )
    report: dict[str, Any] = e2b_smoke.run(configuration, lambda line: None)
    assert {check["check"]: check["error"] for check in report["checks"]} == dict.fromkeys(CHECKS)
    assert report["passed"]


def test_without_a_key_it_exits_with_2_and_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_module, "settings", lambda: load_settings({}))
    outcome = CliRunner().invoke(app, ["e2b-smoke"])
    assert outcome.exit_code == 2
    assert "E2B_API_KEY" in outcome.output
