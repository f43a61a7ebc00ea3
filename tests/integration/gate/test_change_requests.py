"""Requests for changes: a round per request, a version per answer, and a gate that is never lost."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from resources.database import Database
from resources.planner import replay_planner
from resources.planner.replay_planner import ReplayPlanner
from sisu_pipeline import oracle
from sisu_pipeline.contracts.access import Role
from sisu_pipeline.contracts.step_outputs import PlannerOutput
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store import human_gates, intents, plan_questions, runs
from sisu_pipeline.workflow import escalation, ownership, run_failure, step_execution
from sisu_pipeline.workflow.dependencies import Dependencies
from sisu_pipeline.workflow.planning import plan_rounds
from tests.builders import apply_policy, apply_recipe
from tests.integration.api.conftest import Api, Live, dependencies_over, serving
from tests.integration.gate.conftest import As
from tests.integration.gate.rounds import COMMENT, FAILURE, REVISED, an_answer, question, request, settle
from tests.integration.gate.world import Waiting
from tests.integration.life import FILES


@pytest.fixture(scope="module")
def live(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """An API of a deployment whose plans a coding agent makes."""
    folder = tmp_path_factory.mktemp("rounds")
    with serving(replace(dependencies_over(database, folder), asks_agent=True)) as running:
        yield running


def waiting(api: Api, **life: Any) -> Waiting:
    """A run at its gate. Its first plan is the built-in planner's."""
    return Waiting(replace(api.dependencies, asks_agent=False), **life)


def gate(api: Api, life: Waiting) -> dict[str, Any]:
    """The plan gate as the API shows it."""
    view: dict[str, Any] = api.get(f"/runs/{life.run_id}/gates/{life.gate}").json()
    return view


def lawful(api: Api) -> None:
    """Every law holds. The mock provider has no receipts of tasks that the test answers."""
    with api.dependencies.database.connect() as connection:
        broken = {verdict.law for verdict in oracle.judge(connection) if not verdict.holds}
    assert broken <= {"510_results_and_receipts_agree"}


def test_a_request_opens_a_round_and_its_answer_becomes_the_next_version(api: Api) -> None:
    life = waiting(api)
    first = life.plan_hash(api.client)
    answered = request(api.client, life, planSha256=first)
    assert answered.status_code == 202
    assert answered.json() | {"requestedAt": ""} == {
        "accepted": True,
        "runId": life.run_id,
        "round": 2,
        "requestedAt": "",
    }
    shown = gate(api, life)
    assert (shown["state"], shown["deadlineAt"]) == ("planning", None)
    assert (life.run.status, life.run.next_action, life.run.segment) == (RunStatus.WAITING_INPUT, "PLAN", 2)
    lawful(api)
    prompt = question(api.dependencies, life).prompt
    assert COMMENT in prompt and "Make the tests pass" in prompt and "+after" in prompt

    assert settle(api.dependencies, life, an_answer())
    view = api.get(f"/runs/{life.run_id}/plan").json()
    (version,) = view["versions"]
    assert (view["version"], view["planSha256"] != first) == (2, True)
    assert version | {"createdAt": ""} == {
        "version": 2,
        "planSha256": view["planSha256"],
        "basedOnSha256": first,
        "editedBy": "sisu:agent",
        "createdAt": "",
        "round": 2,
        "requestedBy": "ann",
        "comment": COMMENT,
        "agent": "OpenCode 1",
        "model": "m",
    }
    shown = gate(api, life)
    assert (shown["state"], shown["planSha256"]) == ("waiting", view["planSha256"])
    assert [(each["outcome"], each["version"]) for each in shown["changes"]["rounds"]] == [("planned", 2)]
    assert life.run.next_action == "APPROVE_PLAN"
    lawful(api)

    approval = {"approvedBy": "bob", "planSha256": view["planSha256"]}
    assert api.post(f"/runs/{life.run_id}/approve-plan", approval).status_code == 202
    life.segment()
    assert life.run.status is RunStatus.SUCCEEDED
    assert life.files() == {"a.txt": REVISED, "keep.txt": "keep\n"}
    lawful(api)


def test_the_deadline_is_suspended_and_starts_again(api: Api) -> None:
    life = waiting(api, constraints={"planApprovalTimeoutS": 600})
    request(api.client, life)
    escalation.enforce(api.dependencies)
    assert life.rows("plan_approvals") == []
    settle(api.dependencies, life, an_answer())
    with api.dependencies.database.connect() as connection:
        (row,) = connection.execute(
            "SELECT extract(epoch FROM g.deadline_at - v.created_at)::float AS waits FROM app.human_gates g "
            "JOIN app.plan_versions v USING (run_id)"
        ).fetchall()
    assert row["waits"] == pytest.approx(600, abs=5)
    life.overdue()
    escalation.enforce(api.dependencies)
    (decided,) = life.rows("plan_approvals")
    assert (decided["decision"], decided["plan_sha256"]) == ("rejected", life.plan_hash(api.client))
    # An operator's retry opens the gate for the new plan, and changes may be requested again.
    life.segment()
    answer = api.post(f"/runs/{life.run_id}/retry", {"actor": "op", "reason": "again"})
    assert answer.status_code == 202
    life.owner += "-2"
    life.segment()
    assert request(api.client, life, comment="Once more").status_code == 202
    assert question(api.dependencies, life).attempt == 2
    settle(api.dependencies, life, an_answer("again\n"))
    assert gate(api, life)["state"] == "waiting"
    lawful(api)


def test_a_round_that_fails_opens_the_gate_for_the_plan_before(api: Api) -> None:
    life = waiting(api)
    first = life.plan_hash(api.client)
    request(api.client, life)
    assert settle(api.dependencies, life, FAILURE)
    shown = gate(api, life)
    assert (shown["state"], shown["planSha256"]) == ("waiting", first)
    (made,) = shown["changes"]["rounds"]
    assert (made["outcome"], made["error"]) == ("failed", "the agent ended")
    assert shown["deadlineAt"] is not None
    history = api.get(f"/runs/{life.run_id}/history").json()["events"]
    events = [(event["event"], event["person"], event["reason"]) for event in history]
    assert ("request-changes", "ann", COMMENT) in events
    assert ("revise-failed", "sisu:agent", "the agent ended") in events
    # The same request after a failure is another round.
    assert request(api.client, life).json()["round"] == 3
    settle(api.dependencies, life, an_answer())
    assert gate(api, life)["changes"]["rounds"][1]["version"] == 2
    lawful(api)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (an_answer(ask={"question": "?", "form": {"type": "object"}}), ""),
        (an_answer(tests=["a", "b", "c"]), "budget:maxFanout: observed 3 > limit 2 (edit)"),
        (
            an_answer(patchPlan=[{"targetPath": "a.txt", "op": "modify", "oldSha256": "0" * 64}]),
            "a.txt",
        ),
        (an_answer(design="no list"), "design"),
    ],
)
def test_an_answer_that_is_no_plan_for_this_run_is_a_failure_in_the_ledger(
    api: Api, answer: plan_questions.Session, sentence: str
) -> None:
    budget = {
        "maxFanout": 2,
        "maxSBXMinutes": 9,
        "maxArtifactsMB": 9,
        "maxRetriesPerStep": 9,
        "maxWallClockMS": 10**6,
    }
    life = waiting(api, request={"budget": budget})
    request(api.client, life)
    settle(api.dependencies, life, answer)
    (call,) = life.rows("opencode_calls")
    if not sentence:
        # An agent cannot ask another question: the plan keeps that of the compiled one.
        assert call["outcome"] == "answered"
        return
    assert (call["outcome"], call["structured"], call["is_final"]) == ("failed", None, True)
    assert sentence in call["error"]["message"]
    assert gate(api, life)["state"] == "waiting" and life.rows("plan_versions") == []
    lawful(api)


def test_a_repetition_returns_the_first_request(api: Api) -> None:
    life = waiting(api)
    first = life.plan_hash(api.client)
    answers = [request(api.client, life, planSha256=first).content for _ in range(3)]
    settle(api.dependencies, life, an_answer())
    # Also when the answer has changed the plan meanwhile.
    answers.append(request(api.client, life, planSha256=first).content)
    assert len(set(answers)) == 1
    unbound = [request(api.client, life, comment="unbound").content]
    settle(api.dependencies, life, an_answer("second\n"))
    unbound.append(request(api.client, life, comment="unbound").content)
    assert len(set(unbound)) == 1
    assert request(api.client, life, planSha256=first, comment="other").status_code == 409
    keyed = [request(api.client, life, comment="more", dedupeKey="k").content for _ in range(2)]
    settle(api.dependencies, life, an_answer("third\n"))
    keyed.append(request(api.client, life, comment="more", dedupeKey="k").content)
    assert len(set(keyed)) == 1 and b'"round":4' in keyed[0]
    reused = request(api.client, life, comment="else", dedupeKey="k")
    assert (reused.status_code, reused.json()["code"]) == (409, "dedupe_conflict")
    assert len(life.rows("change_requests")) == len(life.rows("plan_questions")) == 3
    lawful(api)


def test_nothing_is_decided_while_the_plan_is_changed(api: Api, contents: Any) -> None:
    life = waiting(api)
    request(api.client, life)
    before = contents()
    for answer in (
        api.post(f"/runs/{life.run_id}/approve-plan", {"approvedBy": "bob"}),
        api.post(f"/runs/{life.run_id}/reject-plan", {"rejectedBy": "bob", "reason": "no"}),
        request(api.client, life, "bob"),
    ):
        assert answer.status_code == 409 and "a coding agent is making them" in answer.json()["error"]
    assert contents() == before
    inbox = api.get("/inbox").json()
    assert (inbox["gates"], inbox["gateCount"]) == ([], 0)
    assert [(run["runId"], run["nextAction"]) for run in inbox["active"]] == [(life.run_id, "PLAN")]


def test_the_fourth_request_is_refused_and_the_recipe_sets_the_bound(api: Api, contents: Any) -> None:
    life = waiting(api)
    for number in range(3):
        assert request(api.client, life, comment=f"change {number}").status_code == 202
        settle(api.dependencies, life, an_answer(f"{number}\n"))
    before = contents()
    refused = request(api.client, life, comment="change 4")
    assert (refused.status_code, refused.json()["code"]) == (409, "decision_conflict")
    assert refused.json()["error"] == (
        "changes to this plan were requested 3 times, and its recipe allows 3: approve, edit or reject it"
    )
    assert contents() == before
    with api.dependencies.database.connect() as connection:
        apply_recipe(connection, "compile-default", maxChangeRequests=0)
    never = waiting(api)
    assert "its recipe allows 0" in request(api.client, never).json()["error"]
    assert gate(api, never)["changes"] == {"allowed": 0, "rounds": []}
    lawful(api)


def test_there_is_no_round_before_the_gate_after_a_decision_or_for_another_plan(api: Api, contents: Any) -> None:
    early = waiting(api, start=False)
    assert "the gate is not open yet" in request(api.client, early).json()["error"]
    other = waiting(api)
    assert "the plan has changed" in request(api.client, other, planSha256="0" * 64).json()["error"]
    decided = waiting(api)
    api.post(f"/runs/{decided.run_id}/approve-plan", {"approvedBy": "bob"})
    assert request(api.client, decided).json()["error"] == (
        "plan already approved by bob: the first decision is final"
    )
    canceled = waiting(api)
    api.post(f"/runs/{canceled.run_id}/cancel", {"actor": "op"})
    assert "the run is canceled" in request(api.client, canceled).json()["error"]
    late = waiting(api)
    late.overdue()
    before = contents()
    assert "plan already rejected by sisu:deadline" in request(api.client, late).json()["error"]
    assert contents() == before
    assert request(api.client, other, comment=" \n").status_code == 400
    assert request(api.client, other, comment="x" * 10_001).status_code == 400
    assert api.client.post("/runs/run_0/request-changes", json={}).status_code in (400, 404)


def test_a_deployment_without_an_agent_needs_a_recorded_answer(api: Api, contents: Any) -> None:
    life = waiting(api)
    request(api.client, life)
    prompt = question(api.dependencies, life).prompt
    with serving(replace(api.dependencies, asks_agent=False)) as replaying:
        client = httpx.Client(base_url=replaying.url, timeout=30)
        other = Waiting(replaying.dependencies, ticket="replayed")
        before = contents()
        refused = request(client, other)
        assert (refused.status_code, refused.json()["code"]) == (409, "decision_conflict")
        assert "edit the plan instead, or start the deployment with OC_MODE=live" in refused.json()["error"]
        assert contents() == before
        with api.dependencies.database.connect() as connection:
            run = runs.get(connection, other.run_id)
            intent = intents.get(connection, run.intent_id)
            ours = intents.get(connection, life.run.intent_id)
        # The prompt of the same changes for the other intent, which differs in its ticket only.
        tickets = (f'"ticket":{ours.inputs["ticket"]}', '"ticket":"replayed"')
        recorded = prompt.replace(*tickets)
        output = PlannerOutput(prompt="", toolcalls=[], responses=[], diffs=[], structured=an_answer().structured)
        planner = api.dependencies.planner
        assert isinstance(planner, ReplayPlanner)
        replay_planner.record(planner.folder, plan_rounds.recorded_question(intent, recorded), output)
        assert request(client, other).status_code == 202
        view = client.get(f"/runs/{other.run_id}/plan").json()
        client.close()
    assert (view["version"], view["versions"][0]["editedBy"], view["versions"][0]["agent"]) == (
        2,
        "sisu:agent",
        None,
    )
    assert gate(api, other)["state"] == "waiting"
    lawful(api)


def test_votes_for_the_plan_before_do_not_count(api: Api) -> None:
    with api.dependencies.database.connect() as connection:
        apply_policy(connection, approvals=2)
    life = waiting(api)

    def approve(person: str) -> dict[str, Any]:
        answer: dict[str, Any] = api.post(f"/runs/{life.run_id}/approve-plan", {"approvedBy": person}).json()
        return answer

    assert approve("ann")["approvals"] == {"given": 1, "required": 2}
    request(api.client, life, "bob")
    settle(api.dependencies, life, an_answer())
    assert approve("bob")["approvals"] == {"given": 1, "required": 2}
    assert "approvals" not in approve("ann")
    lawful(api)


def test_the_requester_is_no_author_unless_the_policy_says_so(api: Api, client_of: As) -> None:
    with api.dependencies.database.connect() as connection:
        apply_policy(connection, selfApproval=False)
    submitter = client_of("sue", Role.SUBMITTER)
    ann, bob = client_of("ann", Role.APPROVER), client_of("bob", Role.APPROVER)
    first = submitted(api, submitter, "lenient")
    assert request(ann, first).status_code == 202
    settle(api.dependencies, first, an_answer())
    assert ann.post(f"/runs/{first.run_id}/approve-plan", json={"approvedBy": "x"}).status_code == 202
    with api.dependencies.database.connect() as connection:
        apply_policy(connection, selfApproval=True, requesterApproval=False)
    second = submitted(api, submitter, "strict")
    assert request(ann, second).status_code == 202
    settle(api.dependencies, second, an_answer())
    refused = ann.post(f"/runs/{second.run_id}/approve-plan", json={"approvedBy": "x"})
    assert refused.status_code == 403
    assert refused.json()["error"].startswith("ann requested changes to this plan: another person must approve it")
    assert bob.post(f"/runs/{second.run_id}/approve-plan", json={"approvedBy": "x"}).status_code == 202
    lawful(api)


def test_only_approvers_of_the_policy_may_request_changes(api: Api, client_of: As, contents: Any) -> None:
    with api.dependencies.database.connect() as connection:
        apply_policy(connection, approvers={"people": ["bob"]})
    life = submitted(api, client_of("sue", Role.SUBMITTER), "restricted")
    ann, viewer = client_of("ann", Role.APPROVER), client_of("vic")
    before = contents()
    assert request(ann, life).json()["error"].startswith("ann is not an approver of policy default@")
    assert request(viewer, life).status_code == 403
    assert contents() == before


def test_a_canceled_run_gets_no_version_from_a_late_answer(api: Api) -> None:
    life = waiting(api)
    request(api.client, life)
    assert api.post(f"/runs/{life.run_id}/cancel", {"actor": "op"}).status_code == 202
    assert not settle(api.dependencies, life, an_answer())
    assert life.rows("plan_versions") == []
    assert gate(api, life)["state"] == "ended"


def test_a_retry_during_a_round_asks_its_question_again(api: Api) -> None:
    life = waiting(api)
    request(api.client, life)
    first = question(api.dependencies, life)
    run_failure.end_run(api.dependencies, life.run_id, RunStatus.RETRIES_EXCEEDED, "its Dagster run failed")
    assert api.post(f"/runs/{life.run_id}/retry", {"actor": "op", "reason": "again"}).status_code == 202
    again = question(api.dependencies, life)
    assert (again.attempt, again.round, again.prompt) == (2, 2, first.prompt)
    assert again.op_key != first.op_key
    life.owner += "-2"
    life.segment()
    assert (life.run.status, life.run.next_action) == (RunStatus.WAITING_INPUT, "PLAN")
    assert settle(api.dependencies, life, an_answer())
    assert gate(api, life)["state"] == "waiting"
    lawful(api)


def test_an_edit_after_a_round_is_based_on_its_version(api: Api) -> None:
    life = waiting(api)
    request(api.client, life)
    settle(api.dependencies, life, an_answer())
    view = api.get(f"/runs/{life.run_id}/plan").json()
    plan = {name: value for name, value in view["plan"].items() if value is not None} | {"tests": ["edited"]}
    body = {"approvedBy": "bob", "planSha256": view["planSha256"], "plan": plan}
    assert api.post(f"/runs/{life.run_id}/approve-plan", body).status_code == 202
    versions = api.get(f"/runs/{life.run_id}/plan").json()["versions"]
    assert [(each["editedBy"], each["round"]) for each in versions] == [("sisu:agent", 2), ("bob", None)]
    life.segment()
    assert life.run.status is RunStatus.SUCCEEDED
    lawful(api)


def test_a_request_may_arrive_before_the_segment_has_suspended(api: Api) -> None:
    life = waiting(api, start=False)
    dependencies = life.dependencies
    early = _at_the_gate(dependencies, life)
    assert early is RunStatus.RUNNING
    assert request(api.client, life).status_code == 202
    life.segment()
    assert (life.run.status, life.run.next_action) == (RunStatus.WAITING_INPUT, "PLAN")
    settle(api.dependencies, life, an_answer())
    assert life.run.next_action == "APPROVE_PLAN"
    lawful(api)


def _at_the_gate(dependencies: Dependencies, life: Waiting) -> RunStatus:
    """Execute the steps before the gate without suspending."""
    ownership.enter(dependencies.database, life.id, life.owner)
    for step in (step_execution.compile_intent, step_execution.apply_patches):
        result = step(dependencies, life.id)
        assert result is not None
        step_execution.commit(dependencies, life.id, result)
    with dependencies.database.connect() as connection:
        assert human_gates.of_run(connection, life.run_id)
    return life.run.status


def submitted(api: Api, submitter: httpx.Client, ticket: str) -> Waiting:
    """A run at its gate that a person with a token submitted and started."""
    inputs = {"files": FILES, "ticket": ticket, "tests": ["t1"]}
    stored = submitter.post("/intents", json={"goal": "Make the tests pass", "inputs": inputs, "constraints": {}})
    intent_id = stored.json()["intentId"]
    body = {"queuePartitionKey": "team-a", "recipeName": "compile-default"}
    assert submitter.post(f"/intents/{intent_id}/run", json=body).status_code == 202
    return Started(replace(api.dependencies, asks_agent=False), intent_id)


class Started(Waiting):
    """A run that a person started through the API."""

    def __init__(self, dependencies: Dependencies, intent_id: str) -> None:
        self.dependencies = dependencies
        with dependencies.database.connect() as connection:
            run = runs.get(connection, intent_id)
        self.id, self.run_id, self.owner = run.workflow_id, run.id, f"dagster-{run.id}"
        self.gate = ""
        self.segment()
