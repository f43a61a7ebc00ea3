"""`sisu gate`: the same commands at a terminal."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from sisu_pipeline.contracts.access import Role
from sisu_pipeline.domain.status import RunStatus
from tests.integration.api.conftest import Api
from tests.integration.gate.conftest import a_token
from tests.integration.gate.test_ask import ASK
from tests.integration.gate.world import Waiting


def sisu(api: Api, *words: str, status: int = 0, **environment: str) -> Any:
    """The JSON a command prints."""
    command = [sys.executable, "-m", "sisu_pipeline.cli", "gate", *words, "--url", api.url, "--json"]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_waiting_gates_are_listed_and_shown_with_their_plan(api: Api) -> None:
    run = Waiting(api.dependencies)
    listed = sisu(api, "list")
    assert [gate["runId"] for gate in listed["gates"]] == [run.run_id]
    shown = sisu(api, "show", run.run_id)
    assert shown["plan"]["planSha256"] == run.plan_hash(api.client)
    words = [sys.executable, "-m", "sisu_pipeline.cli", "gate", "show", run.run_id, "--url", api.url]
    text = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "patch a.txt:" in text
    assert "-before" in text


def test_approve_an_edited_plan_from_a_file(api: Api, tmp_path: Path) -> None:
    run = Waiting(api.dependencies)
    view = api.get(f"/runs/{run.run_id}/plan").json()
    file = tmp_path / "plan.json"
    plan = {name: value for name, value in view["plan"].items() if value is not None}
    file.write_text(json.dumps({**plan, "tests": ["t9"]}))
    refused = sisu(api, "approve", run.run_id, "--by", "ann", "--edited", str(file), status=1)
    assert refused["code"] == "invalid_contract"
    sisu(api, "approve", run.run_id, "--by", "ann", "--plan", view["planSha256"], "--edited", str(file))
    assert run.segment().status is RunStatus.SUCCEEDED
    assert run.rows("sbx_runs")[0]["request"]["cmd"].endswith(" t9")


def test_reject_and_answer(api: Api) -> None:
    run = Waiting(api.dependencies, constraints=ASK)
    assert sisu(api, "answer", run.run_id, "{", status=1)["code"] == "invalid_json"
    assert sisu(api, "answer", run.run_id, '{"environment": "moon"}', status=1)["code"] == "invalid_answer"
    sisu(api, "answer", run.run_id, '{"environment": "staging"}', "--by", "ann")
    run.segment()
    sisu(api, "reject", run.run_id, "--reason", "too early", "--by", "ann")
    assert run.segment().status is RunStatus.RETRIES_EXCEEDED


def test_the_token_comes_from_the_environment(api: Api) -> None:
    run = Waiting(api.dependencies)
    token = a_token(api.dependencies.database, "ann", Role.APPROVER)
    assert sisu(api, "list", status=1)["code"] == "unauthorized"
    sisu(api, "approve", run.run_id, "--by", "somebody else", SISU_TOKEN=token)
    assert run.rows("plan_approvals")[0]["decided_by"] == "ann"
