"""Approval rules belong to the deployment: a run keeps its policy's version, and its intent may only tighten it."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from sisu_pipeline import oracle
from sisu_pipeline.contracts.access import Role
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store import deadlines
from sisu_pipeline.workflow import escalation
from tests.builders import apply_policy, apply_recipe
from tests.integration.api.conftest import Api
from tests.integration.gate.conftest import As, Recipe
from tests.integration.gate.world import Waiting

Contents = Callable[[], dict[str, str]]
START = {"queuePartitionKey": "a"}
ANN = {"people": ["ann"]}


def submit(api: Api, constraints: dict[str, Any]) -> str:
    intent: str = api.post("/intents", {"goal": "g", "inputs": {}, "constraints": constraints}).json()["intentId"]
    return intent


def approve(api: Api, run: Waiting, person: str) -> httpx.Response:
    return api.post(f"/runs/{run.run_id}/approve-plan", {"approvedBy": person})


def test_a_run_keeps_the_policy_that_it_started_with(api: Api, recipe: Recipe) -> None:
    before = Waiting(api.dependencies)
    recipe(required=2)
    after = Waiting(api.dependencies)
    assert (before.run.policy_name, after.run.policy_name) == ("default@1", "default@2")
    assert "approvals" not in approve(api, before, "ann").json()
    assert approve(api, after, "ann").json()["approvals"] == {"given": 1, "required": 2}


@pytest.mark.parametrize("name", ["compile-default", "sandbox-default", "control-default"])
def test_every_seeded_recipe_follows_the_default_policy(api: Api, recipe: Recipe, name: str) -> None:
    recipe(required=2)
    run = Waiting(api.dependencies, request={"recipeName": name})
    assert approve(api, run, "ann").json()["approvals"] == {"given": 1, "required": 2}


def test_a_recipe_may_have_a_policy_of_its_own(api: Api) -> None:
    with api.dependencies.database.connect() as connection:
        apply_policy(connection, "two-people", approvals=2)
        apply_recipe(connection, "sandbox-default", policy="two-people")
    strict = Waiting(api.dependencies, request={"recipeName": "sandbox-default"})
    assert (strict.run.recipe_version, strict.run.policy_name) == (2, "two-people@1")
    assert Waiting(api.dependencies).run.policy_name == "default@1"


@pytest.mark.parametrize(
    ("rules", "constraints", "pointer", "message"),
    [
        (
            {},
            {"planApprovalTimeoutS": 1, "planApprovalOnTimeout": "approve"},
            "/constraints/planApprovalOnTimeout",
            "under policy default@2 and these constraints a deadline cannot approve; use 'reject'",
        ),
        (
            {"approvals": 2},
            {"testHooks": {"planApprovalOnTimeout": "approve"}},
            "/constraints/testHooks/planApprovalOnTimeout",
            "under policy default@2 and these constraints a deadline cannot approve; use 'reject'",
        ),
        (
            {"deadlineMayApprove": True},
            {"planApprovals": 2, "planApprovalOnTimeout": "approve"},
            "/constraints/planApprovalOnTimeout",
            "under policy default@2 and these constraints a deadline cannot approve; use 'reject'",
        ),
        (
            {"approvals": 2},
            {"planApprovals": 1},
            "/constraints/planApprovals",
            "policy default@2 requires 2 approvals; an intent may only require more",
        ),
        (
            {"approvers": {"people": ["ann", "bob"]}},
            {"planApprovals": 3},
            "/constraints/planApprovals",
            "policy default@2 has 2 approvers, so 3 could never approve",
        ),
        (
            {"approvers": ANN},
            {"planApprovers": ["ann", "eve"]},
            "/constraints/planApprovers",
            "eve is not an approver of policy default@2",
        ),
        (
            {"approvals": 2},
            {"planApprovers": ["ann"]},
            "/constraints/planApprovers",
            "2 people must approve, and it names 1",
        ),
        (
            {"selfApproval": False},
            {"planSelfApproval": True},
            "/constraints/planSelfApproval",
            "policy default@2 forbids self-approval",
        ),
        (
            {},
            {"planAutomaticApproval": True},
            "/constraints/planAutomaticApproval",
            "policy default@2 approves no plan automatically",
        ),
        (
            {"longestDeadlineS": 60},
            {"timeoutS": 61},
            "/constraints/timeoutS",
            "policy default@2 allows at most 60 seconds (got 61)",
        ),
    ],
)
def test_a_constraint_that_widens_the_policy_is_a_400_at_the_start_and_writes_nothing(
    api: Api, contents: Contents, rules: dict[str, Any], constraints: dict[str, Any], pointer: str, message: str
) -> None:
    with api.dependencies.database.connect() as connection:
        apply_policy(connection, longestDeadlineS=rules.pop("longestDeadlineS", 3600), **rules)
    intent = submit(api, constraints)
    before = contents()
    answers = [api.post(f"/intents/{intent}/run", START) for _ in range(2)]
    assert answers[0].content == answers[1].content
    assert (answers[0].status_code, answers[0].json()["code"]) == (400, "invalid_constraint")
    assert answers[0].json()["details"] == [{"pointer": pointer, "message": message}]
    assert contents() == before


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        ({"planApprovals": 0}, "it must be a whole number from 1 to 100"),
        ({"planApprovals": True}, "it must be a whole number from 1 to 100"),
        ({"planApprovers": []}, "it must be a list of names of people, each once"),
        ({"planApprovers": ["ann", "ann"]}, "it must be a list of names of people, each once"),
        ({"planApprovers": ["sisu:deadline"]}, "it must be a list of names of people, each once"),
        ({"planApprovers": "ann"}, "it must be a list of names of people, each once"),
        ({"planSelfApproval": "no"}, "it must be a boolean"),
        ({"planAutomaticApproval": 0}, "it must be a boolean"),
    ],
)
def test_a_constraint_that_no_policy_could_accept_is_refused_when_the_intent_is_submitted(
    api: Api, contents: Contents, constraints: dict[str, Any], message: str
) -> None:
    before = contents()
    answer = api.post("/intents", {"goal": "g", "inputs": {}, "constraints": constraints})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_constraint")
    assert answer.json()["details"] == [{"pointer": f"/constraints/{next(iter(constraints))}", "message": message}]
    assert contents() == before


def test_an_intent_may_require_more_approvals_of_fewer_people(api: Api, recipe: Recipe) -> None:
    recipe(approvers=["ann", "bob", "cem"])
    run = Waiting(api.dependencies, constraints={"planApprovals": 2, "planApprovers": ["ann", "bob"]})
    refused = approve(api, run, "cem")
    assert refused.status_code == 403
    assert refused.json()["error"].startswith("cem is not among the approvers that the intent names")
    assert approve(api, run, "ann").json()["approvals"] == {"given": 1, "required": 2}
    assert "approvals" not in approve(api, run, "bob").json()


def test_an_intent_may_forbid_self_approval(api: Api, client_of: As) -> None:
    ann, bob = (client_of(name, Role.SUBMITTER, Role.APPROVER) for name in ("ann", "bob"))
    body = {"goal": "g", "inputs": {}, "constraints": {"planSelfApproval": False}}
    intent = ann.post("/intents", json=body).json()["intentId"]
    run = ann.post(f"/intents/{intent}/run", json=START).json()["runId"]
    assert ann.post(f"/runs/{run}/approve-plan", json={"approvedBy": "ann"}).status_code == 403
    assert bob.post(f"/runs/{run}/approve-plan", json={"approvedBy": "bob"}).status_code == 202


def test_a_repeated_start_is_a_replay_after_the_recipe_and_its_policy_changed(api: Api) -> None:
    intent = submit(api, {"planApprovalTimeoutS": 600})
    first = api.post(f"/intents/{intent}/run", START).json()
    with api.dependencies.database.connect() as connection:
        apply_policy(connection, approvals=2, longestDeadlineS=60)
        apply_recipe(connection, "compile-default", maxSteps=1)
    again = api.post(f"/intents/{intent}/run", START)
    assert (again.status_code, again.json()) == (202, {**first, "isReplay": True})


def test_only_the_submitters_of_a_policy_start_its_runs(api: Api, client_of: As, contents: Contents) -> None:
    with api.dependencies.database.connect() as connection:
        apply_policy(connection, submitters={"people": ["ann"], "groups": ["bots"]})
    intent = submit(api, {})
    unknown = api.post(f"/intents/{intent}/run", START)
    assert (unknown.status_code, unknown.json()["code"]) == (403, "submission_forbidden")
    assert "the submitter is unknown" in unknown.json()["error"]
    eve, ann = (client_of(name, Role.SUBMITTER) for name in ("eve", "ann"))
    before = contents()
    refused = eve.post(f"/intents/{intent}/run", json=START)
    assert (refused.status_code, refused.json()["code"]) == (403, "submission_forbidden")
    assert contents() == before
    assert ann.post(f"/intents/{intent}/run", json=START).status_code == 202


def test_a_deadline_that_an_earlier_release_let_approve_rejects_where_the_policy_does_not_allow_it(
    api: Api,
) -> None:
    run = Waiting(api.dependencies)
    with api.dependencies.database.connect() as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute("UPDATE app.human_gates SET on_timeout = 'approve'")
    run.overdue()
    escalation.enforce(api.dependencies)
    (decided,) = run.rows("plan_approvals")
    assert (decided["decided_by"], decided["decision"]) == (deadlines.ACTOR, "rejected")
    assert run.segment().status is RunStatus.RETRIES_EXCEEDED


AUTOMATIC = {"paths": ["a.txt", "new/*"], "commands": ["pnpm test"], "maxBytes": 100, "maxTasks": 1}


def test_a_plan_of_low_risk_is_approved_by_its_policy_which_is_shown_as_such(api: Api, recipe: Recipe) -> None:
    recipe(required=2, self_approval=False, automaticApproval=AUTOMATIC)
    run = Waiting(api.dependencies)
    assert run.run.status is RunStatus.SUCCEEDED
    view = api.get(f"/runs/{run.run_id}").json()
    assert view["decision"]["decidedBy"] == "policy:default@2"
    (gate,) = api.get(f"/runs/{run.run_id}/gates").json()["gates"]
    assert (gate["state"], gate["decidedBy"]) == ("passed", "policy:default@2")
    (recorded,) = api.get(f"/runs/{run.run_id}/interactions").json()["interactions"]
    assert (recorded["actor"], recorded["kind"]) == ("policy:default@2", "approve")
    with api.dependencies.database.connect() as connection:
        broken = {verdict.law for verdict in oracle.judge(connection) if not verdict.holds}
    # The results of these tests are not the mock provider's, which would leave receipts.
    assert broken <= {"510_results_and_receipts_agree"}


@pytest.mark.parametrize(
    ("rule", "inputs"),
    [
        ({"paths": ["a.txt"]}, {}),
        ({"commands": ["make test"]}, {}),
        ({"maxBytes": 3}, {}),
        ({}, {"tests": ["t1", "t2"]}),
        ({}, {"tests": []}),
        ({}, {"tests": ["t1; curl evil.example"]}),
        ({}, {"tests": ["--upload"]}),
        ({}, {"testCommand": "pnpm test; curl evil.example"}),
    ],
)
def test_a_plan_beyond_the_rule_waits_for_people(
    api: Api, recipe: Recipe, rule: dict[str, Any], inputs: dict[str, Any]
) -> None:
    recipe(automaticApproval=AUTOMATIC | rule)
    run = Waiting(api.dependencies, **inputs)
    assert run.run.status is RunStatus.WAITING_INPUT
    assert run.rows("plan_approvals") == []


def test_neither_a_plan_with_network_nor_one_whose_intent_refuses_is_approved_automatically(
    api: Api, recipe: Recipe
) -> None:
    recipe(automaticApproval=AUTOMATIC)
    refusing = Waiting(api.dependencies, constraints={"planAutomaticApproval": False})
    assert refusing.run.status is RunStatus.WAITING_INPUT
    with api.dependencies.database.connect() as connection:
        apply_recipe(connection, "compile-default", net=True)
    assert Waiting(api.dependencies).run.status is RunStatus.WAITING_INPUT
