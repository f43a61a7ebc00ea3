"""Assignments, and substitutes determine who is asked. The policy alone determines who may decide."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from sisu_pipeline.contracts.access import Role
from sisu_pipeline.store.access import tokens
from tests.integration.api.conftest import Api
from tests.integration.gate.conftest import As, Recipe
from tests.integration.gate.world import Waiting


def assign(client: httpx.Client, run: Waiting, **body: Any) -> httpx.Response:
    return client.post(f"/runs/{run.run_id}/assign", json={"assignedBy": "lead", **body})


def asked(client: httpx.Client, whom: str = "me", **query: str) -> list[str]:
    listed = client.get("/gates", params={"asked": whom, **query}).json()
    return [gate["runId"] for gate in listed["gates"]]


def away(client: httpx.Client, delegate: str | None, hours: int = 1, **body: Any) -> httpx.Response:
    """Record an absence that ends in so many hours, or without a delegate, that the person is back."""
    if delegate is not None:
        body = {"endsAt": (datetime.now(UTC) + timedelta(hours=hours)).isoformat(), **body}
    return client.post("/delegations", json={"recordedBy": "x", "delegate": delegate, **body})


def group_token(api: Api, owner: str, group: str) -> httpx.Client:
    text = f"sisu_{owner}_{group}"
    with api.dependencies.database.connect() as connection:
        tokens.create(connection, text, owner, [Role.VIEWER], [group])
    return httpx.Client(base_url=api.url, headers={"Authorization": f"Bearer {text}"}, verify=False)


def test_the_newest_assignment_counts_and_the_same_again_changes_nothing(api: Api) -> None:
    run = Waiting(api.dependencies)
    first = assign(api.client, run, people=["ann"], groups=["leads"], reason="they know it").json()
    assert (first["people"], first["groups"], first["assignedBy"]) == (["ann"], ["leads"], "lead")
    assert assign(api.client, run, people=["ann"], groups=["leads"]).json() == first
    assert asked(api.client, person="ann") == [run.run_id]
    assign(api.client, run, people=["bob"])
    assert asked(api.client, person="ann") == []
    assert asked(api.client, person="bob") == [run.run_id]
    assign(api.client, run)
    assert asked(api.client, "unassigned") == [run.run_id]
    assert len(run.rows("run_assignments")) == 3
    events = api.get(f"/runs/{run.run_id}/history").json()["events"]
    assert [(each["person"], each["reason"]) for each in events if each["event"] == "assign"] == [
        ("lead", "ann, leads: they know it"),
        ("lead", "bob"),
        ("lead", "no one"),
    ]


def test_a_group_and_a_team_are_those_of_the_token(api: Api, client_of: As) -> None:
    run, other = Waiting(api.dependencies), Waiting(api.dependencies)
    lead = client_of("lead", Role.APPROVER)
    with group_token(api, "ann", "payments") as ann, group_token(api, "bob", "payments") as bob:
        assign(lead, run, groups=["payments"])
        assign(lead, other, people=["bob"])
        assert asked(ann) == [run.run_id]
        assert set(asked(bob)) == {run.run_id, other.run_id}
        assert set(asked(ann, "team")) == {run.run_id, other.run_id}
        # With a token, the parameter means no other person.
        assert asked(ann, person="bob") == [run.run_id]


def test_an_assignment_gives_no_right(api: Api, client_of: As, recipe: Recipe) -> None:
    recipe(approvers=["ann"])
    run = Waiting(api.dependencies)
    ann, eve, viewer = client_of("ann", Role.APPROVER), client_of("eve", Role.APPROVER), client_of("vic")
    assert assign(ann, run, people=["eve", "vic"]).status_code == 200
    approval = {"approvedBy": "x", "planSha256": run.plan_hash(ann)}
    refused = eve.post(f"/runs/{run.run_id}/approve-plan", json=approval)
    assert (refused.status_code, refused.json()["code"]) == (403, "decision_forbidden")
    assert viewer.post(f"/runs/{run.run_id}/approve-plan", json=approval).status_code == 403
    assert assign(viewer, run, people=["vic"]).status_code == 403
    assert ann.post(f"/runs/{run.run_id}/approve-plan", json=approval).status_code == 202


def test_a_colleague_is_asked_while_a_person_is_away_and_gets_no_right(
    api: Api, client_of: As, recipe: Recipe
) -> None:
    recipe(approvers=["ann"])
    run = Waiting(api.dependencies)
    ann, bob = client_of("ann", Role.APPROVER), client_of("bob", Role.APPROVER)
    recorded = away(ann, "bob", reason="on leave")
    assert (recorded.status_code, recorded.json()["person"], recorded.json()["delegate"]) == (200, "ann", "bob")
    assert asked(bob) == asked(ann) == [run.run_id]
    (gate,) = bob.get("/gates").json()["gates"]
    assert gate["asked"] == {
        "people": ["ann"],
        "groups": [],
        "delegates": ["bob"],
        "assignedBy": None,
        "assignedAt": None,
    }
    assert bob.post(f"/runs/{run.run_id}/approve-plan", json={"approvedBy": "bob"}).status_code == 403
    assert [each["delegate"] for each in bob.get("/delegations").json()["delegations"]] == ["bob"]
    away(ann, None)
    assert asked(bob) == []
    assert bob.get("/delegations").json()["delegations"] == []


def test_a_later_absence_does_not_count_yet(api: Api) -> None:
    run = Waiting(api.dependencies)
    assign(api.client, run, people=["ann"])
    begins = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert away(api.client, "bob", 2, person="ann", beginsAt=begins).status_code == 200
    assert asked(api.client, person="bob") == []
    assert len(api.get("/delegations").json()["delegations"]) == 1


def test_an_absence_that_is_over_before_it_begins_is_refused_and_not_recorded(api: Api) -> None:
    over = away(api.client, "bob", -1, person="ann")
    assert (over.status_code, over.json()["code"]) == (400, "invalid_period")
    back = away(api.client, None, person="ann", endsAt="2030-01-01T00:00:00Z")
    assert (back.status_code, back.json()["code"]) == (400, "invalid_contract")
    assert api.get("/delegations").json()["delegations"] == []


def test_only_an_operator_records_the_absence_of_another_person(api: Api, client_of: As) -> None:
    bob, operator = client_of("bob", Role.APPROVER), client_of("olga", Role.APPROVER, Role.OPERATOR)
    refused = away(bob, "bob", person="ann")
    assert (refused.status_code, refused.json()["code"]) == (403, "delegation_forbidden")
    assert bob.get("/delegations").json()["delegations"] == []
    assert away(operator, "bob", person="ann").status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/delegations", {"recordedBy": "ann", "delegate": "bob"}),
        ("/delegations", {"recordedBy": "ann", "delegate": "ann", "endsAt": "2030-01-01T00:00:00Z"}),
        ("/delegations", {"recordedBy": "ann", "delegate": "bob", "endsAt": "2030-01-01T00:00:00"}),
        ("/delegations", {"recordedBy": "sisu:engine", "delegate": "bob", "endsAt": "2030-01-01T00:00:00Z"}),
        ("/runs/{run}/assign", {"assignedBy": "ann", "people": ["bob", "bob"]}),
        ("/runs/{run}/assign", {"assignedBy": "ann", "groups": ["Not a group"]}),
        ("/runs/{run}/assign", {"people": ["bob"]}),
    ],
)
def test_a_malformed_request_is_a_400_and_writes_nothing(api: Api, path: str, body: dict[str, Any]) -> None:
    run = Waiting(api.dependencies)
    answer = api.post(path.format(run=run.run_id), body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_contract")
    assert run.rows("run_assignments") == []
    assert api.get("/delegations").json() == {"delegations": []}


def test_a_run_that_does_not_exist_cannot_be_assigned(api: Api) -> None:
    body = {"assignedBy": "ann", "people": ["bob"]}
    assert api.post("/runs/run_" + "0" * 32 + "/assign", body).status_code == 404
