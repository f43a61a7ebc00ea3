"""Recipes may require several approvals, restrict the approvers, and forbid self-approval."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from sisu_pipeline.contracts.access import Role
from sisu_pipeline.contracts.base import ContractInvalid
from sisu_pipeline.domain.status import RunStatus
from tests.integration.api.conftest import Api
from tests.integration.gate.conftest import As, Recipe
from tests.integration.gate.world import Waiting

Contents = Callable[[], dict[str, str]]


def approve(api: Api, run: Waiting, person: str, **body: object) -> httpx.Response:
    return api.post(f"/runs/{run.run_id}/approve-plan", {"approvedBy": person, **body})


def reject(api: Api, run: Waiting, person: str) -> httpx.Response:
    return api.post(f"/runs/{run.run_id}/reject-plan", {"rejectedBy": person, "reason": "no"})


def test_the_run_continues_after_the_last_of_n_approvals_and_not_before(api: Api, recipe: Recipe) -> None:
    recipe(required=3)
    run = Waiting(api.dependencies)
    for given, person in enumerate(["ann", "bob"], start=1):
        answer = approve(api, run, person)
        assert answer.status_code == 202
        assert answer.json()["approvals"] == {"given": given, "required": 3}
        assert run.segment().status is RunStatus.WAITING_INPUT
    assert approve(api, run, "cem").json().keys() == {"accepted", "runId", "approvedAt"}
    assert api.get(f"/runs/{run.run_id}").json()["decision"]["decidedBy"] == "ann, bob, cem"
    assert run.segment().status is RunStatus.SUCCEEDED


def test_a_person_counts_once_however_often_they_approve(api: Api, recipe: Recipe, contents: Contents) -> None:
    recipe(required=2)
    run = Waiting(api.dependencies)
    first = approve(api, run, "ann")
    before = contents()
    again = approve(api, run, "ann", notes="I mean it")
    assert again.json() == first.json()
    assert contents() == before


def test_one_rejection_is_enough(api: Api, recipe: Recipe) -> None:
    recipe(required=2)
    run = Waiting(api.dependencies)
    approve(api, run, "ann")
    assert reject(api, run, "bob").status_code == 202
    assert approve(api, run, "cem").status_code == 409
    assert run.segment().status is RunStatus.RETRIES_EXCEEDED


def test_an_approval_of_several_before_the_gate_opens_is_a_409(api: Api, recipe: Recipe) -> None:
    recipe(required=2)
    run = Waiting(api.dependencies, start=False)
    answer = approve(api, run, "ann")
    assert (answer.status_code, answer.json()["code"]) == (409, "decision_conflict")


def test_only_the_named_approvers_decide(api: Api, recipe: Recipe, contents: Contents) -> None:
    recipe(approvers=["ann", "bob"])
    run = Waiting(api.dependencies)
    before = contents()
    for answer in (approve(api, run, "eve"), reject(api, run, "eve")):
        assert (answer.status_code, answer.json()["code"]) == (403, "decision_forbidden")
    assert contents() == before
    assert approve(api, run, "bob").status_code == 202


def test_a_quorum_larger_than_its_people_cannot_be_set(recipe: Recipe) -> None:
    with pytest.raises(ContractInvalid, match="approvals must be at most the number of approvers, 2"):
        recipe(required=3, approvers=["ann", "bob"])


def test_a_submitter_may_reject_the_plan_but_not_approve_it(api: Api, recipe: Recipe, client_of: As) -> None:
    recipe(self_approval=False)
    bob = client_of("bob", Role.SUBMITTER, Role.APPROVER)
    eve = client_of("eve", Role.SUBMITTER, Role.APPROVER)
    ann = client_of("ann", Role.APPROVER)
    intent = bob.post("/intents", json={"goal": "g", "inputs": {}, "constraints": {}}).json()["intentId"]
    run = eve.post(f"/intents/{intent}/run", json={"queuePartitionKey": "a"}).json()["runId"]
    for client in (bob, eve):
        answer = client.post(f"/runs/{run}/approve-plan", json={"approvedBy": "ann"})
        assert (answer.status_code, answer.json()["code"]) == (403, "decision_forbidden")
    assert ann.post(f"/runs/{run}/approve-plan", json={"approvedBy": "ann"}).status_code == 202


def test_without_a_known_submitter_no_approval_is_accepted_where_self_approval_is_forbidden(
    api: Api, recipe: Recipe
) -> None:
    recipe(self_approval=False)
    run = Waiting(api.dependencies)
    answer = approve(api, run, "ann")
    assert (answer.status_code, answer.json()["code"]) == (403, "decision_forbidden")
    assert "the submitter is unknown" in answer.json()["error"]
    assert reject(api, run, "ann").status_code == 202


def test_many_approving_at_once_make_one_decision_of_exactly_n(api: Api, recipe: Recipe) -> None:
    recipe(required=3)
    run = Waiting(api.dependencies)
    barrier = threading.Barrier(8)

    def vote(number: int) -> httpx.Response:
        barrier.wait()
        return approve(api, run, f"person {number}")

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(vote, range(8)))
    assert {answer.status_code for answer in answers} == {202}
    pending = [answer.json()["approvals"]["given"] for answer in answers if "approvals" in answer.json()]
    assert sorted(pending) == [1, 2]
    assert len(run.rows("human_interactions")) == 3
    (decided,) = run.rows("plan_approvals")
    assert len(decided["decided_by"].split(", ")) == 3
