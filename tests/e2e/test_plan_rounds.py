"""Rounds in a whole stack: a person requests changes, a coding agent plans again, whichever process dies meanwhile.

The agent plays a script; everything else is real.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from sisu_pipeline.crash_points import POINTS
from sisu_pipeline.proof.harness.running_stack import RunningStack
from tests.e2e.conftest import run_sisu, until
from tests.e2e.test_agent_plans import (
    GOALS,
    NEW,
    PLAN,
    SUBMIT,
    agent_stack,
    agents,
    assert_lawful,
    calls,
    run_of,
    submit,
    wait_for,
)
from tests.e2e.test_gate_graphql import Dagster
from tests.support.acp import scripted_model
from tests.support.acp.scripted_model import ScriptedModel

pytestmark = pytest.mark.slow

REVISED = "def greet(*names):\n    return names\n"
CHANGES: dict[str, list[list[dict[str, Any]]]] = {
    "Accept several names": [[{"write": {"greet.py": REVISED}}, {"submit": PLAN | {"tests": ["test_names"]}}]],
    "Hang": [[{"orphan": True}, {"hang": "forever"}]],
    "Hang until the worker dies": [
        [{"write": {"greet.py": REVISED}}, {"waitForModel": "round"}, {"submit": PLAN}],
    ],
    "Give up": [[{"write": {"greet.py": NEW}}]],
    "Do nothing": [[SUBMIT]],
}


@pytest.fixture(scope="module")
def model() -> Iterator[ScriptedModel]:
    """A scripted model's provider."""
    with scripted_model.running_model({"round": ["wait"]}) as running:
        yield running


@pytest.fixture(scope="module")
def live(model: ScriptedModel) -> Iterator[RunningStack]:
    """A stack in OC_MODE=live with the scripted agent."""
    with agent_stack(model, {"goals": GOALS, "changes": CHANGES}) as running:
        yield running


def at_its_gate(live: RunningStack) -> str:
    """A run that waits for a decision about its first plan."""
    workflow_id = submit(live, "greet by name")
    wait_for(live, workflow_id, "waiting_input", "APPROVE_PLAN")
    return workflow_id


def request(live: RunningStack, workflow_id: str, comment: str) -> dict[str, Any]:
    """Request changes to the plan of a run."""
    status, answer = live.post(f"/runs/{workflow_id}/request-changes", {"requestedBy": "ann", "comment": comment})
    assert status == 202, answer
    return answer


def rounds(live: RunningStack, workflow_id: str) -> list[dict[str, Any]]:
    """The rounds of a run, as its gate shows them."""
    (gate,) = live.http.get(f"/runs/{workflow_id}/gates").json()["gates"]
    made: list[dict[str, Any]] = gate["changes"]["rounds"]
    return made


def wait_for_round(live: RunningStack, workflow_id: str, outcome: str) -> None:
    """Wait until the last round has an outcome."""
    until(lambda: rounds(live, workflow_id)[-1]["outcome"] == outcome, f"{workflow_id} {outcome}")


def test_changes_are_requested_at_a_terminal_and_the_new_plan_is_executed(live: RunningStack) -> None:
    environment = live.process.environment
    workflow_id = at_its_gate(live)
    first = live.http.get(f"/runs/{workflow_id}/plan").json()["planSha256"]
    arguments = ("--comment", "Accept several names", "--plan", first, "--by", "ann", "--json")
    asked = run_sisu(environment, "gate", "request-changes", workflow_id, *arguments)
    assert (asked.status, asked.document["round"]) == (0, 2), asked
    wait_for_round(live, workflow_id, "planned")
    view = live.http.get(f"/runs/{workflow_id}/plan").json()
    assert (view["version"], view["plan"]["tests"]) == (2, ["test_names"])
    assert [(patch["targetPath"], patch["after"]) for patch in view["patches"]] == [("greet.py", REVISED)]
    assert [(call["outcome"], call["agent_name"]) for call in calls(live, workflow_id)] == [
        ("answered", "scripted")
    ] * 2
    text = run_sisu(environment, "gate", "show", workflow_id).stdout
    assert "round 2: ann: Accept several names (version 2)" in text
    assert "by scripted 1.2.3 (m)" in text and "changes may be requested 2 more times" in text
    history = run_sisu(environment, "run", "history", workflow_id).stdout
    assert "request-changes" in history and "revise" in history and "sisu:agent" in history
    live.approve(workflow_id)
    live.wait_for_status([workflow_id], "succeeded", 60)
    (task,) = live.http.get(f"/runs/{workflow_id}/plan").json()["complete"]["tasks"]
    assert task["command"] == "python3 test_greet.py test_names"
    assert_lawful(live)


def test_changes_are_requested_in_dagster(live: RunningStack) -> None:
    workflow_id = at_its_gate(live)
    dagster = Dagster(live.process.admin_url)
    config = {"run_id": workflow_id, "requested_by": "ann", "comment": "Accept several names"}
    assert dagster.job("request_changes", config | {"plan_sha256": "0" * 64}) == "FAILURE"
    assert dagster.job("request_changes", config) == "SUCCESS"
    wait_for_round(live, workflow_id, "planned")
    (made,) = rounds(live, workflow_id)
    assert (made["requestedBy"], made["channel"], made["version"]) == ("ann", "dagster", 2)
    assert_lawful(live)


def test_a_round_holds_no_intent_worker_and_a_cancellation_kills_its_agent(live: RunningStack) -> None:
    workflow_id = at_its_gate(live)
    request(live, workflow_id, "Hang")
    until(lambda: len(agents()) > 0, "the agent to start")
    assert (run_of(live, workflow_id)["status"], run_of(live, workflow_id)["nextAction"]) == (
        "waiting_input",
        "PLAN",
    )
    at_its_gate(live)  # The only intent worker is free.
    began = time.monotonic()
    assert live.post(f"/runs/{workflow_id}/cancel", {"actor": "me", "reason": "enough"})[0] == 202
    until(lambda: agents() == [], "the agent to end")
    assert time.monotonic() - began < 2
    until(lambda: run_of(live, workflow_id)["status"] == "canceled", "the cancellation")
    assert len(calls(live, workflow_id)) == 1
    assert_lawful(live)


def test_a_round_whose_agent_fails_opens_the_gate_for_the_plan_before(live: RunningStack) -> None:
    workflow_id = at_its_gate(live)
    first = live.http.get(f"/runs/{workflow_id}/plan").json()["planSha256"]
    request(live, workflow_id, "Give up")
    wait_for_round(live, workflow_id, "failed")
    (made,) = rounds(live, workflow_id)
    assert made["error"].startswith("the agent submitted no valid plan in 3 turns")
    view = run_of(live, workflow_id)
    assert (view["status"], view["nextAction"], view["gate"]["planSha256"]) == (
        "waiting_input",
        "APPROVE_PLAN",
        first,
    )
    live.approve(workflow_id)
    live.wait_for_status([workflow_id], "succeeded", 60)
    assert_lawful(live)


def test_the_question_of_a_round_whose_worker_is_killed_is_asked_again(
    live: RunningStack, model: ScriptedModel
) -> None:
    workflow_id = at_its_gate(live)
    request(live, workflow_id, "Hang until the worker dies")
    until(lambda: len(agents()) > 0, "the agent to start")
    group = next(
        process for process in psutil.process_iter(["cmdline"]) if "compileQ" in (process.info["cmdline"] or [])
    )
    for process in group.children():
        process.kill()
    model.scripts["round"] = ["go"]
    wait_for_round(live, workflow_id, "planned")
    assert [call["outcome"] for call in calls(live, workflow_id)] == ["answered", "answered"]
    assert_lawful(live)


@pytest.mark.parametrize(
    "point",
    [
        "api.commit.before",
        "api.commit.after",
        *(name for name in POINTS if name.startswith(("round.", "question.session.", "question.commit."))),
    ],
)
def test_wherever_a_process_dies_a_request_leads_to_one_version(live: RunningStack, point: str) -> None:
    workflow_id = at_its_gate(live)
    order = Path(live.process.environment["SISU_CRASH_AT"], point)
    order.touch()
    request(live, workflow_id, "Accept several names")
    wait_for_round(live, workflow_id, "planned")
    assert not order.exists(), "no process died"
    assert [made["version"] for made in rounds(live, workflow_id)] == [2]
    assert [call["outcome"] for call in calls(live, workflow_id)] == ["answered", "answered"]
    live.approve(workflow_id)
    live.wait_for_status([workflow_id], "succeeded", 60)
    assert_lawful(live)


def test_every_crash_point_of_rounds_is_tested() -> None:
    assert [name for name in POINTS if name.startswith("round.")] == ["round.enqueue.before", "round.enqueue.after"]


def test_a_change_of_nothing_is_a_version_without_patches(live: RunningStack) -> None:
    workflow_id = at_its_gate(live)
    request(live, workflow_id, "Do nothing")
    wait_for_round(live, workflow_id, "planned")
    view = live.http.get(f"/runs/{workflow_id}/plan").json()
    assert (view["version"], view["patches"]) == (2, [])
    assert json.dumps(view["complete"]["changes"]) == "[]"
    assert_lawful(live)
