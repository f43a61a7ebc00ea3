"""`sisu gate`: the same commands at a terminal."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sisu_pipeline.api.views import gate_views
from sisu_pipeline.contracts.access import Role
from sisu_pipeline.domain.canonical import sha256_hex
from sisu_pipeline.domain.status import RunStatus
from tests.builders import a_run, an_intent
from tests.integration.api.conftest import Api
from tests.integration.gate.conftest import a_token
from tests.integration.gate.test_ask import ASK
from tests.integration.gate.world import Waiting


def sisu(api: Api, *arguments: str, status: int = 0, url: bool = True, **environment: str) -> Any:
    """Run a command; returns the JSON it prints."""
    place = ["--url", api.url] if url else []
    command = [sys.executable, "-m", "sisu_pipeline.cli", *arguments, *place, "--json"]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_waiting_gates_are_listed_and_shown_with_their_plan(api: Api) -> None:
    run = Waiting(api.dependencies)
    listed = sisu(api, "gate", "list")
    assert [gate["runId"] for gate in listed["gates"]] == [run.run_id]
    shown = sisu(api, "gate", "show", run.run_id)
    assert shown["plan"]["planSha256"] == run.plan_hash(api.client)
    command = [sys.executable, "-m", "sisu_pipeline.cli", "gate", "show", run.run_id, "--url", api.url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "modify a.txt:" in text
    assert "-before" in text


def test_a_list_that_shows_only_some_gates_states_how_many_there_are(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        Waiting(api.dependencies)
    listed = sisu(api, "gate", "list", "--limit", "2")
    assert (len(listed["gates"]), listed["gateCount"]) == (2, 3)
    rest = sisu(api, "gate", "list", "--cursor", listed["nextCursor"])
    assert (len(rest["gates"]), rest["gateCount"], rest["nextCursor"]) == (1, 3, None)
    command = [sys.executable, "-m", "sisu_pipeline.cli", "gate", "list", "--limit", "2", "--url", api.url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "2 of 3 open gates" in text
    assert f"More: sisu gate list --cursor {listed['nextCursor']}" in text
    monkeypatch.setattr(gate_views, "MAX_GATES", 2)
    assert api.get("/inbox").json()["gateCount"] == 3
    monkeypatch.setattr(gate_views, "MAX_GATES", 3)
    assert api.get("/inbox").json()["gateCount"] == 3


def test_an_inbox_that_shows_only_some_active_runs_states_how_many_there_are(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    with api.dependencies.database.connect() as connection:
        for number in range(3):
            a_run(connection, an_intent(f"active {number}"))
    for most, shown in ((2, 2), (3, 3), (4, 3)):
        monkeypatch.setattr(gate_views, "MAX_RUNS", most)
        inbox = api.get("/inbox").json()
        assert (len(inbox["active"]), inbox["activeCount"]) == (shown, 3)


@pytest.mark.parametrize("noun", ["gate", "run"])
def test_an_edited_plan_is_approved_from_a_file(api: Api, noun: str, tmp_path: Path) -> None:
    run = Waiting(api.dependencies)
    view = api.get(f"/runs/{run.run_id}/plan").json()
    file = tmp_path / "plan.json"
    plan = {name: value for name, value in view["plan"].items() if value is not None}
    file.write_text(json.dumps({**plan, "tests": ["t9"]}))
    refused = sisu(api, noun, "approve", run.run_id, "--by", "ann", "--edited", str(file), status=1)
    assert refused["code"] == "invalid_contract"
    sisu(api, noun, "approve", run.run_id, "--by", "ann", "--plan", view["planSha256"], "--edited", str(file))
    assert run.segment().status is RunStatus.SUCCEEDED
    assert run.rows("sbx_runs")[0]["request"]["cmd"].endswith(" t9")


CONTENTS = ["a\r\nb\r\n", "a\rb", "\ufeffno end", "", "  a\n\n", "a\u2028b\x0b\u202e"]
UNTOUCHED = [
    *({"targetPath": f"{number}.txt", "postimageContent": text} for number, text in enumerate(CONTENTS)),
    {"targetPath": "data", "contentBase64": "//4A"},
    {"targetPath": "moved.txt", "op": "rename", "fromPath": "keep.txt", "mode": "100755"},
    {"targetPath": "a.txt", "op": "delete"},
]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_an_edit_of_one_risk_changes_no_other_byte(api: Api, tmp_path: Path, mark: str) -> None:
    tests = [" leading", "trailing ", "", "two\nlines\r\n"]
    run = Waiting(api.dependencies, tests=tests, testCommand="run\r\n", patches=UNTOUCHED)
    shown = sisu(api, "gate", "show", run.run_id)["plan"]
    file = tmp_path / "plan.json"
    file.write_text(mark + json.dumps({**shown["plan"], "risks": ["é"]}, ensure_ascii=False), encoding="utf-8")
    approve = ("gate", "approve", run.run_id, "--by", "ann", "--plan", shown["planSha256"], "--edited", str(file))
    sisu(api, *approve, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    after = api.get(f"/runs/{run.run_id}/plan").json()
    assert after["plan"] == {**shown["plan"], "risks": ["é"]}
    assert (after["version"], after["planSha256"]) == (2, shown["planSha256"])


def test_a_plan_saved_as_utf_16_is_read(api: Api, tmp_path: Path) -> None:
    run = Waiting(api.dependencies)
    shown = sisu(api, "gate", "show", run.run_id)["plan"]
    file = tmp_path / "plan.json"
    file.write_text(json.dumps({**shown["plan"], "risks": ["é"]}, ensure_ascii=False), encoding="utf-16")
    approve = ("gate", "approve", run.run_id, "--by", "ann", "--plan", shown["planSha256"], "--edited", str(file))
    sisu(api, *approve)
    assert api.get(f"/runs/{run.run_id}/plan").json()["plan"]["risks"] == ["é"]


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_terminal_that_lacks_a_character_shows_its_escape(api: Api, encoding: str) -> None:
    goal = "tidy\u2026 \U0001f600 é"
    run = Waiting(api.dependencies, goal=goal)
    listed = sisu(api, "gate", "list", PYTHONIOENCODING=encoding)
    assert [(gate["runId"], gate["goal"]) for gate in listed["gates"]] == [(run.run_id, goal)]
    command = [sys.executable, "-m", "sisu_pipeline.cli", "gate", "list", "--url", api.url]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert rb"tidy\u2026 \U0001f600" in done.stdout


def test_an_edited_plan_that_is_not_utf_8_is_refused(api: Api, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_bytes(b'{"goal": "\xff"}')
    refused = sisu(api, "gate", "approve", "run_1", "--edited", str(tmp_path / "plan.json"), status=1)
    assert refused["code"] == "invalid_json"


def test_every_operation_is_shown_at_a_terminal(api: Api) -> None:
    patches = [*UNTOUCHED, {"targetPath": "tool", "postimageContent": "true\n", "mode": "100755"}]
    run = Waiting(api.dependencies, patches=patches)
    command = [sys.executable, "-m", "sisu_pipeline.cli", "gate", "show", run.run_id, "--url", api.url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for line in (
        "create data:",
        f"  note: the content is binary: 3 bytes, sha256 {sha256_hex(bytes.fromhex('fffe00'))}",
        "  GIT binary patch: left out, --json has it",
        "rename keep.txt to moved.txt:",
        "  note: the mode changes from 100644 to 100755",
        "  rename from keep.txt",
        "delete a.txt:",
        "  deleted file mode 100644",
        "create tool:",
        "  note: the file is executable",
    ):
        assert line in text.splitlines()
    assert "literal" not in text


def test_a_question_is_answered_and_a_plan_rejected(api: Api) -> None:
    run = Waiting(api.dependencies, constraints=ASK)
    assert sisu(api, "gate", "answer", run.run_id, "{", status=1)["code"] == "invalid_json"
    assert sisu(api, "gate", "answer", run.run_id, '{"environment": "moon"}', status=1)["code"] == "invalid_answer"
    sisu(api, "gate", "answer", run.run_id, '{"environment": "staging"}', "--by", "ann")
    run.segment()
    sisu(api, "gate", "reject", run.run_id, "--reason", "too early", "--by", "ann")
    assert run.segment().status is RunStatus.RETRIES_EXCEEDED


def test_the_token_is_read_from_the_environment_and_names_the_approver(api: Api) -> None:
    run = Waiting(api.dependencies)
    token = a_token(api.dependencies.database, "ann", Role.APPROVER)
    assert sisu(api, "gate", "list", status=1)["code"] == "unauthorized"
    sisu(api, "gate", "approve", run.run_id, "--by", "somebody else", SISU_TOKEN=token)
    assert run.rows("plan_approvals")[0]["decided_by"] == "ann"


@pytest.mark.slow
def test_gates_are_assigned_filtered_and_decided_together(api: Api) -> None:
    first, second = Waiting(api.dependencies), Waiting(api.dependencies)
    sisu(api, "gate", "assign", first.run_id, "ann", "@leads", "--by", "lead")
    sisu(api, "gate", "delegate", "bob", "--until", "2099-01-01", "--for", "ann", "--by", "olga")
    for person in ("ann", "bob"):
        mine = sisu(api, "gate", "list", "--mine", "--by", person)
        assert [gate["runId"] for gate in mine["gates"]] == [first.run_id]
    assert len(sisu(api, "gate", "delegations")["delegations"]) == 1
    sisu(api, "gate", "back", "--for", "ann", "--by", "ann")
    assert sisu(api, "gate", "list", "--mine", "--by", "bob")["gateCount"] == 0
    assert sisu(api, "gate", "list", "--mine", "--team", status=1)["code"] == "usage"
    names = [f"{run.run_id}@{run.plan_hash(api.client)}" for run in (first, second)]
    decided = sisu(
        api, "gate", "decide", "approve", names[0], f"{second.run_id}@{'0' * 64}", "--by", "ann", status=1
    )
    assert [each["outcome"] for each in decided["results"]] == ["approved", "refused"]
    assert sisu(api, "gate", "decide", "reject", names[1], "--reason", "old", "--by", "ann")["recorded"] == 1
    page = sisu(api, "run", "history", "--all", "--event", "rejected")
    assert [each["runId"] for each in page["events"]] == [second.run_id]
    command = [sys.executable, "-m", "sisu_pipeline.cli", "run", "history", "--export", "csv", "--url", api.url]
    exported = subprocess.run(command, capture_output=True, check=True).stdout
    assert exported == api.get("/history/export").content
    assert sisu(api, "run", "history", status=1)["code"] == "usage"
