"""Plans by a coding agent in a whole stack: requested on compileQ, kept in the ledger, approved and executed.

The agent plays a script; everything else is real.
"""

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from sisu_pipeline.crash_points import POINTS
from sisu_pipeline.proof.harness.lab_stack import lab_stack
from sisu_pipeline.proof.harness.running_stack import RunningStack, connect_to
from tests.e2e.conftest import run_sisu, until
from tests.integration.planner.conftest import AGENT
from tests.support.acp import scripted_model
from tests.support.acp.scripted_model import KEY, ScriptedModel

# A stack of its own.
pytestmark = pytest.mark.slow

PLAN = {
    "design": ["greet() takes a name"],
    "files": ["greet.py"],
    "risks": [],
    "tests": ["test_greet"],
    "testCommand": "python3 test_greet.py",
}
OLD, NEW = "def greet():\n    return 'hello'\n", "def greet(name):\n    return name\n"
EDIT = {"write": {"greet.py": NEW}}
MODEL = {"model": {"model": "m", "stream": True, "messages": []}}
SUBMIT = {"submit": PLAN}
GOALS: dict[str, list[list[dict[str, Any]]]] = {
    "greet by name": [[MODEL, EDIT, SUBMIT]],
    "hang": [[{"orphan": True}, {"hang": "forever"}]],
    "hang until the worker dies": [[{"waitForModel": "gate"}, SUBMIT]],
    "hang until the worker stops": [[{"waitForModel": "gate"}, SUBMIT]],
    "never submit": [[EDIT]],
    "die": [[{"kill": True}]],
    "spend": [[MODEL, MODEL, MODEL, SUBMIT]],
}


@pytest.fixture(scope="module")
def model() -> Iterator[ScriptedModel]:
    """A scripted model's provider."""
    with scripted_model.running_model({"gate": ["wait"]}) as running:
        yield running


@pytest.fixture(scope="module")
def live(model: ScriptedModel) -> Iterator[RunningStack]:
    """A stack in OC_MODE=live with the scripted agent."""
    with agent_stack(model, {"goals": GOALS}) as running:
        yield running


@contextmanager
def agent_stack(model: ScriptedModel, played: dict[str, Any]) -> Iterator[RunningStack]:
    """A stack in OC_MODE=live with an agent that plays this script."""
    with tempfile.TemporaryDirectory(prefix="sisu-e2e-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        script = folder / "script.json"
        script.write_text(json.dumps(played))
        script.chmod(0o644)
        (folder / "crash").mkdir()
        key = folder / "key"
        key.write_text(f"{KEY}\n")
        variables = {
            "SISU_PROFILE": "warm",
            "INTENT_QUEUE_RATE_LIMIT_PER_PERIOD": "0",
            "SBX_MODE": "mock",
            "OC_MODE": "live",
            "OC_AGENT": f"python3 {AGENT} {script}",
            "OC_AGENT_PATHS": f"{AGENT}:{script}",
            "OC_MODEL": "m",
            "OC_PROVIDER_URL": model.url,
            "OC_API_KEY_FILE": str(key),
            "OC_INPUT_PRICE": "1",
            "OC_OUTPUT_PRICE": "5",
            "OC_CONCURRENCY": "4",
            "SISU_CRASH_AT": str(folder / "crash"),
        }
        with (
            lab_stack(folder / "home", variables, workers=1) as process,
            connect_to(process) as running,
        ):
            yield running


def submit(live: RunningStack, goal: str, budget: dict[str, Any] | None = None) -> str:
    """Submit an intent with one file and start its run."""
    intent = {"goal": goal, "inputs": {"files": {"greet.py": OLD}, "at": str(time.time_ns())}, "constraints": {}}
    _, stored = live.post("/intents", intent)
    body = {
        "recipeName": "sandbox-default",
        "queuePartitionKey": "agents",
        **({"budget": budget} if budget else {}),
    }
    status, answer = live.post(f"/intents/{stored['intentId']}/run", body)
    assert status == 202, answer
    return str(stored["intentId"])


def run_of(live: RunningStack, workflow_id: str) -> dict[str, Any]:
    """The run's view."""
    view: dict[str, Any] = live.http.get(f"/runs/{workflow_id}").json()
    return view


def wait_for(live: RunningStack, workflow_id: str, status: str, next_action: str) -> None:
    """Wait until the run has a status and a next action."""

    def holds() -> bool:
        view = run_of(live, workflow_id)
        return (view["status"], view.get("nextAction")) == (status, next_action)

    until(holds, f"{workflow_id} {status} {next_action}: {run_of(live, workflow_id)}")


def calls(live: RunningStack, workflow_id: str) -> list[dict[str, Any]]:
    """The ledger's rows of a run."""
    statement = """
        SELECT to_jsonb(c) AS call FROM app.opencode_calls c JOIN app.runs r ON r.id = c.run_id
        WHERE r.workflow_id = %(workflow_id)s ORDER BY c.attempt, c.try"""
    with live.database.connect() as connection:
        return [row["call"] for row in connection.execute(statement, {"workflow_id": workflow_id})]


def agents() -> list[psutil.Process]:
    """The processes of scripted agents."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(AGENT) in (process.info["cmdline"] or []) and "run" not in process.info["cmdline"]
    ]


def test_an_agent_plans_a_person_approves_and_the_change_is_executed(live: RunningStack) -> None:
    workflow_id = submit(live, "greet by name")
    wait_for(live, workflow_id, "waiting_input", "APPROVE_PLAN")
    (call,) = calls(live, workflow_id)
    assert (call["outcome"], call["is_final"], call["tool_calls"]) == ("answered", True, {})
    assert (call["input_tokens"], call["output_tokens"], call["cost_usd"]) == (1000, 50, 0.00125)
    assert (call["agent_name"], call["agent_version"], call["model"]) == ("scripted", "1.2.3", "m")
    assert KEY not in json.dumps(call)
    transcript = live.http.get(f"/artifacts/{call['transcript_uri']}").text
    assert "session/prompt" in transcript and KEY not in transcript
    shown = run_of(live, workflow_id)["planning"]
    assert (shown["maxPlanTokens"], shown["sessions"][0]["tokens"], shown["sessions"][0]["costUSD"]) == (
        None,
        1050,
        0.00125,
    )
    text = run_sisu(live.process.environment, "run", "show", workflow_id).stdout
    assert "scripted 1.2.3, 1050 tokens, $0.0013" in text and "no limit" in text
    live.approve(workflow_id)
    live.wait_for_status([workflow_id], "succeeded", 60)
    assert_lawful(live)


def test_planning_holds_no_intent_worker_and_a_cancellation_kills_the_agent(live: RunningStack) -> None:
    hanging = submit(live, "hang")
    wait_for(live, hanging, "waiting_input", "PLAN")
    until(lambda: len(agents()) > 0, "the agent to start")
    # The only intent worker is free: another run goes all the way to its gate.
    other = submit(live, "greet by name")
    wait_for(live, other, "waiting_input", "APPROVE_PLAN")
    began = time.monotonic()
    status, _ = live.post(f"/runs/{hanging}/cancel", {"actor": "me", "reason": "enough"})
    assert status == 202
    until(lambda: agents() == [], "the agent to end")
    assert time.monotonic() - began < 2
    assert calls(live, hanging) == []
    until(lambda: run_of(live, hanging)["status"] == "canceled", "the cancellation")
    assert_lawful(live)


def test_a_question_of_a_killed_worker_is_asked_again(live: RunningStack, model: ScriptedModel) -> None:
    workflow_id = submit(live, "hang until the worker dies")
    until(lambda: len(agents()) > 0, "the agent to start")
    group = next(
        process for process in psutil.process_iter(["cmdline"]) if "compileQ" in (process.info["cmdline"] or [])
    )
    for process in group.children():
        process.kill()
    model.scripts["gate"] = ["go"]
    wait_for(live, workflow_id, "waiting_input", "APPROVE_PLAN")
    (call,) = calls(live, workflow_id)
    assert (call["outcome"], call["try"]) == ("answered", 1)
    assert_lawful(live)


def test_a_stopped_worker_ends_its_agents_and_removes_their_files(live: RunningStack, model: ScriptedModel) -> None:
    model.scripts["gate"] = ["wait"]
    workflow_id = submit(live, "hang until the worker stops")
    until(lambda: len(agents()) > 0, "the agent to start")
    boxes = [*(live.process.settings.home / "agents" / "boxes").glob("*/*")]
    assert boxes
    group = next(
        process for process in psutil.process_iter(["cmdline"]) if "compileQ" in (process.info["cmdline"] or [])
    )
    group.terminate()
    until(lambda: not group.is_running(), "the worker to stop")
    assert [box for box in boxes if box.exists()] == []
    model.scripts["gate"] = ["go"]
    wait_for(live, workflow_id, "waiting_input", "APPROVE_PLAN")
    (call,) = calls(live, workflow_id)
    assert (call["outcome"], call["try"]) == ("answered", 1)
    assert_lawful(live)


@pytest.mark.parametrize("point", [name for name in POINTS if name.startswith(("question.", "gate.suspend."))])
def test_wherever_a_process_dies_the_question_has_one_answer(live: RunningStack, point: str) -> None:
    order = Path(live.process.environment["SISU_CRASH_AT"], point)
    order.touch()
    workflow_id = submit(live, "greet by name")
    wait_for(live, workflow_id, "waiting_input", "APPROVE_PLAN")
    assert not order.exists(), "no process died"
    assert [call["outcome"] for call in calls(live, workflow_id)] == ["answered"]
    assert_lawful(live)


def test_an_agent_without_a_plan_fails_the_run_and_a_retry_asks_again(live: RunningStack) -> None:
    workflow_id = submit(live, "never submit")
    until(lambda: run_of(live, workflow_id)["status"] == "retries_exceeded", "the failure")
    view = run_of(live, workflow_id)
    assert view["error"].startswith("Planning failed [no_plan]: the agent submitted no valid plan in 3 turns")
    live.post(f"/runs/{workflow_id}/retry", {"actor": "me", "reason": "again"})
    until(lambda: len(calls(live, workflow_id)) == 2, "another session")
    until(lambda: run_of(live, workflow_id)["status"] == "retries_exceeded", "the second failure")
    assert [(call["attempt"], call["try"]) for call in calls(live, workflow_id)] == [(1, 1), (2, 1)]
    assert_lawful(live)


def test_a_passing_failure_is_tried_three_times(live: RunningStack) -> None:
    workflow_id = submit(live, "die")
    until(lambda: run_of(live, workflow_id)["status"] == "retries_exceeded", "the failure")
    rows = [(call["try"], call["is_final"], call["error"]["code"]) for call in calls(live, workflow_id)]
    assert rows == [(1, False, "agent_ended"), (2, False, "agent_ended"), (3, True, "agent_ended")]
    assert_lawful(live)


def test_a_budget_for_the_plan_ends_the_run(live: RunningStack) -> None:
    others = {
        "maxFanout": 10,
        "maxSBXMinutes": 10,
        "maxArtifactsMB": 10,
        "maxRetriesPerStep": 3,
        "maxWallClockMS": 600_000,
    }
    workflow_id = submit(live, "spend", {**others, "maxPlanTokens": 1500})
    until(lambda: run_of(live, workflow_id)["status"] == "retries_exceeded", "the failure")
    assert "maxPlanTokens is 1500 (got 2100)" in run_of(live, workflow_id)["error"]
    assert_lawful(live)


def test_doctor_starts_the_agent_and_opens_a_session(live: RunningStack) -> None:
    result = run_sisu(live.process.environment, "doctor", "--json")
    checks = {check["name"]: check for check in result.document["checks"]}
    assert checks["planner"] == {"name": "planner", "ok": True, "detail": "scripted 1.2.3"}
    assert checks["compileQ workers"]["ok"]


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"OC_AGENT": "no-such-agent acp"}, "the agent 'no-such-agent' of OC_AGENT was not found"),
        ({"OC_MODEL": None}, "OC_MODE=live needs a model: set OC_MODEL"),
        ({"OC_API_KEY_FILE": None}, "set OC_API_KEY or OC_API_KEY_FILE"),
        ({"OC_AGENT": "python3 -c pass"}, "the agent ended during initialize"),
    ],
)
def test_a_stack_whose_agent_cannot_plan_does_not_start(
    live: RunningStack, variables: dict[str, str | None], sentence: str
) -> None:
    changed = {**live.process.environment, **{name: value for name, value in variables.items() if value}}
    environment = {name: value for name, value in changed.items() if variables.get(name, "") is not None}
    result = run_sisu(environment, "worker", "--queue", "compileQ")
    assert result.status != 0 and sentence in result.stderr + result.stdout


def assert_lawful(live: RunningStack) -> None:
    """Every law holds, and no agent and no sandbox is left but those of the other tests."""
    result = run_sisu(live.process.environment, "oracle", "--json")
    assert result.status == 0, result.stdout
