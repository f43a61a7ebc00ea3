"""The commands of `sisu` against a running stack."""

import json

import pytest

from sisu_pipeline.console.api_client import Api
from sisu_pipeline.proof.harness.lab_stack import LabStack
from tests.e2e.conftest import Sisu, run_sisu


def _intent(goal: str, **inputs: object) -> str:
    return json.dumps({"goal": goal, "inputs": inputs, "constraints": {}})


def _started(sisu: Sisu, goal: str, **inputs: object) -> str:
    stored = sisu("intent", "submit", "-", "--json", stdin=_intent(goal, **inputs)).document
    run: str = sisu("run", "start", stored["intentId"], "--json").document["runId"]
    return run


def test_an_intent_is_submitted_approved_and_executed_by_commands_alone(sisu: Sisu) -> None:
    run = _started(sisu, "cli: all the way", tests=["a", "b", "c"])
    waiting = sisu("run", "watch", run, "--until-gate", "--json")
    assert (waiting.status, waiting.document["status"]) == (3, "waiting_input")
    plan = waiting.document["gate"]["planSha256"]
    assert sisu("run", "approve", run, "--by", "po", "--plan", plan, "--json").document["accepted"] is True
    ended = sisu("run", "watch", run, "--json")
    assert (ended.status, ended.document["status"]) == (0, "succeeded")
    assert ended.document["tasks"] == {"total": 3, "finished": 3, "failed": 0}
    view = sisu("run", "show", run, "--json").document
    assert [step["stepId"] for step in view["steps"]] == ["CompileST", "ApplyPatchST", "DecideST", "ExecuteST"]
    assert run in [listed["runId"] for listed in sisu("run", "list", "--json").document["runs"]]


@pytest.mark.slow
def test_watching_a_rejected_run_exits_with_1(sisu: Sisu) -> None:
    run = _started(sisu, "cli: rejected")
    assert sisu("run", "reject", run, "--by", "po", "--reason", "too bold").status == 0
    watched = sisu("run", "watch", run)
    assert watched.status == 1
    assert "too bold" in watched.stdout
    assert "ended" in sisu("doctor", run).stdout


@pytest.mark.slow
def test_watch_prints_a_plain_line_per_change_without_a_terminal(sisu: Sisu) -> None:
    run = _started(sisu, "cli: plain lines")
    sisu("run", "approve", run, "--by", "po")
    lines = sisu("run", "watch", run).stdout.splitlines()
    assert len(lines) == len(set(lines))
    assert lines[-1].startswith("succeeded · last step ExecuteST")
    assert not any("\x1b" in line for line in lines)


def test_submitting_twice_is_one_intent_and_reports_a_replay(sisu: Sisu) -> None:
    first = sisu("intent", "submit", "-", "--json", stdin=_intent("cli: twice")).document
    again = sisu("intent", "submit", "-", "--json", stdin=_intent("cli: twice")).document
    assert (first["isReplay"], again["isReplay"]) == (False, True)
    assert first["intentId"] == again["intentId"]


def test_a_refusal_of_the_api_is_printed_with_code_pointer_and_message(sisu: Sisu) -> None:
    refused = sisu("intent", "submit", "-", stdin='{"goal": ""}')
    assert refused.status == 1
    assert "[invalid_contract]" in refused.stderr
    assert "/constraints: constraints is required" in refused.stderr
    assert refused.stdout == ""


def test_with_json_a_refusal_is_the_only_document(sisu: Sisu) -> None:
    refused = sisu("run", "show", "run_" + "0" * 32, "--json")
    assert (refused.status, refused.document["code"]) == (1, "not_found")


def test_starting_again_with_another_tenant_is_refused(sisu: Sisu) -> None:
    stored = sisu("intent", "submit", "-", "--json", stdin=_intent("cli: drift")).document
    assert sisu("run", "start", stored["intentId"]).status == 0
    drifted = sisu("run", "start", stored["intentId"], "--tenant", "other")
    assert drifted.status == 1
    assert '/tenantId: existing null, incoming "other"' in drifted.stderr


def test_a_missing_file_is_reported_in_one_line(sisu: Sisu) -> None:
    failed = sisu("intent", "submit", "/nowhere/intent.json")
    assert (failed.status, len(failed.stderr.splitlines())) == (1, 1)


def test_an_unreachable_api_exits_with_2_and_names_the_command_to_run(sisu: Sisu) -> None:
    failed = sisu("run", "list", "--url", "http://127.0.0.1:1")
    assert failed.status == 2
    assert "`sisu start`" in failed.stderr


def test_psql_passes_its_arguments_on_with_and_without_a_separator(sisu: Sisu) -> None:
    seed = sisu("db", "psql", "-U", "postgres", "-d", "app_local", "-Atc", "SELECT count(*) FROM app.recipes")
    assert (seed.status, seed.stdout) == (0, "3\n")
    assert sisu("db", "psql", "--", "-Atc", "SELECT 1").stdout == "1\n"
    assert sisu("db", "psql", "-c", "SELECT nothing").status == 1


def test_every_law_holds_and_the_oracle_lists_them(sisu: Sisu) -> None:
    judged = sisu("oracle", "--json")
    assert (judged.status, judged.document["holds"]) == (0, True)
    assert len(judged.document["laws"]) >= 20


@pytest.mark.slow
def test_a_broken_law_exits_with_1_and_its_rows(sisu: Sisu) -> None:
    run = _started(sisu, "cli: broken law")
    sisu("run", "watch", run, "--until-gate")
    # A task executed twice, which the law about executions must find.
    columns = "receipt_key, run_id, step_id, payload_hash, first_attempt, last_attempt, seen_count"
    broken = f"INSERT INTO app.mock_receipts ({columns}) VALUES ('twice', '{run}', 'ExecuteST', '', 1, 1, 2)"
    try:
        assert sisu("db", "psql", "-qc", broken).status == 0
        judged = sisu("oracle", "--json")
        rows = {law["law"]: law["rows"] for law in judged.document["laws"] if not law["holds"]}
        assert judged.status == 1
        assert "twice" in str(rows["500_task_is_executed_once"])
    finally:
        # Without triggers: receipts are append-only.
        remove = "DELETE FROM app.mock_receipts WHERE receipt_key = 'twice'"
        assert sisu("db", "psql", "-qc", f"SET session_replication_role = replica; {remove}").status == 0


def test_doctor_finds_every_part_of_the_stack_healthy(sisu: Sisu) -> None:
    found = sisu("doctor", "--json")
    assert [check["name"] for check in found.document["checks"] if not check["ok"]] == []
    assert (found.status, found.document["ok"]) == (0, True)


@pytest.mark.slow
def test_doctor_explains_in_one_sentence_why_a_run_waits(sisu: Sisu) -> None:
    run = _started(sisu, "cli: doctor")
    sisu("run", "watch", run, "--until-gate")
    found = sisu("doctor", run, "--json").document
    assert found["diagnosis"] == "It waits for approval of its plan."
    assert found["command"] == f"sisu run approve {run}"


def test_doctor_masks_secrets(stack: LabStack) -> None:
    environment = stack.environment | {"E2B_API_KEY": "hush-hush"}
    shown = run_sisu(environment, "doctor", "--settings", "--json")
    assert "E2B_API_KEY" in shown.document
    assert "hush-hush" not in shown.stdout


def test_doctor_lists_the_settings_when_one_is_unknown(stack: LabStack) -> None:
    failed = run_sisu(stack.environment | {"SISU_PROFIL": "warm"}, "doctor", "--settings")
    assert failed.status == 2
    assert "unknown settings: SISU_PROFIL" in failed.stderr
    assert "SISU_PROFILE" in failed.stderr


def test_env_prints_the_variables_that_dagsters_own_commands_need(sisu: Sisu) -> None:
    lines = sisu("env").stdout.splitlines()
    assert all(line.startswith("export ") for line in lines)
    assert any(line.startswith("export DAGSTER_HOME=") for line in lines)


def test_a_second_start_on_the_same_ports_is_refused(stack: LabStack, tmp_path: object) -> None:
    refused = run_sisu(stack.environment | {"SISU_HOME": str(tmp_path)}, "start")
    assert refused.status == 2
    assert f"PORT={stack.settings.port} is in use" in refused.stderr


def test_a_second_start_on_the_same_folder_is_refused(stack: LabStack) -> None:
    ports = {"PORT": "1", "ADMIN_PORT": "2"}
    refused = run_sisu(stack.environment | ports, "start")
    assert refused.status == 2
    assert "a stack is already running on" in refused.stderr


def test_the_api_and_the_cli_show_the_same_run(sisu: Sisu, api: Api) -> None:
    run = _started(sisu, "cli: same view")
    sisu("run", "watch", run, "--until-gate")
    assert sisu("run", "show", run, "--json").document == api.get("runs", run)
