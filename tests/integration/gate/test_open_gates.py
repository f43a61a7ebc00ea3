"""The list of open gates: pages, search, filters, and a count of all that match."""

from typing import Any

import pytest

from sisu_pipeline.contracts.access import Role
from sisu_pipeline.contracts.gate import Decision
from tests.integration.api.conftest import Api
from tests.integration.gate.conftest import As, Recipe
from tests.integration.gate.test_ask import ASK
from tests.integration.gate.world import Waiting


def page(api: Api, **query: Any) -> dict[str, Any]:
    answer = api.client.get("/gates", params=query)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def runs_of(listed: dict[str, Any]) -> list[str]:
    return [gate["runId"] for gate in listed["gates"]]


def test_pages_follow_each_other_by_deadline_and_every_page_counts_all(api: Api) -> None:
    waiting = [
        Waiting(api.dependencies, constraints={"planApprovalTimeoutS": 1000 * (5 - number)}) for number in range(5)
    ]
    seen, cursor = [], None
    while True:
        listed = page(api, limit=2, **({"cursor": cursor} if cursor else {}))
        assert listed["count"] == 5
        seen += runs_of(listed)
        cursor = listed["nextCursor"]
        if cursor is None:
            break
    assert seen == [run.run_id for run in reversed(waiting)]


def test_a_page_goes_on_after_the_last_gate_was_decided(api: Api) -> None:
    waiting = [
        Waiting(api.dependencies, constraints={"planApprovalTimeoutS": 1000 * (1 + number)}) for number in range(3)
    ]
    first = page(api, limit=2)
    for run in waiting:
        run.say(Decision.APPROVED)
    last = page(api, limit=2, cursor=first["nextCursor"])
    assert (last["gates"], last["count"], last["nextCursor"]) == ([], 0, None)


def test_a_search_finds_each_word_in_goal_id_submitter_recipe_tenant_and_file(api: Api, client_of: As) -> None:
    submitter = client_of("Grace Hopper", Role.SUBMITTER)
    intent = {"goal": "Repair the 100% checkout", "inputs": {}, "constraints": {}}
    stored = submitter.post("/intents", json=intent).json()["intentId"]
    submitter.post(f"/intents/{stored}/run", json={"queuePartitionKey": "team-a", "tenantId": "acme"})
    wanted = Waiting(api.dependencies, goal="Tidy the basket", request={"tenantId": "acme"})
    Waiting(api.dependencies, goal="Another_goal", request={"recipeName": "sandbox-default"})
    reader = client_of("ann")

    def found(search: str) -> list[str]:
        return [gate["goal"] for gate in reader.get("/gates", params={"search": search}).json()["gates"]]

    assert found("BASKET tidy") == found(wanted.run_id) == found(wanted.id) == ["Tidy the basket"]
    assert found("new/b.txt basket") == found("acme") == ["Tidy the basket"]
    assert found("sandbox-DEFAULT@1") == found("r_g") == ["Another_goal"]
    assert found("r%g") == found("basket another") == found("\\") == []
    with api.dependencies.database.connect() as connection:
        row = connection.execute(
            "SELECT content FROM app.run_search WHERE content LIKE '%grace hopper%' AND content LIKE '%100\\%%'"
        ).fetchall()
    assert len(row) == 1


def test_filters_by_tenant_and_by_time_to_the_deadline(api: Api) -> None:
    soon = Waiting(api.dependencies, constraints={"planApprovalTimeoutS": 600}, request={"tenantId": "7"})
    late = Waiting(api.dependencies, constraints={"planApprovalTimeoutS": 86_400})
    assert runs_of(page(api, tenant="7")) == [soon.run_id]
    assert runs_of(page(api, dueWithinS=3600)) == [soon.run_id]
    assert runs_of(page(api, dueWithinS=0)) == []
    late.overdue()
    assert runs_of(page(api, dueWithinS=0)) == [late.run_id]


def test_a_gate_asks_those_whom_its_policy_or_its_intent_names(api: Api, client_of: As, recipe: Recipe) -> None:
    anybody = Waiting(api.dependencies)
    recipe(approvers=["ann", "bob"])
    both = Waiting(api.dependencies)
    named = Waiting(api.dependencies, constraints={"planApprovers": ["bob"]})
    ann, bob = client_of("ann", Role.APPROVER), client_of("bob", Role.VIEWER)

    def asks(client: Any, whom: str) -> set[str]:
        return set(runs_of(client.get("/gates", params={"asked": whom}).json()))

    assert asks(ann, "me") == {both.run_id}
    assert asks(bob, "me") == {both.run_id, named.run_id}
    assert asks(bob, "unassigned") == {anybody.run_id}


def test_a_question_is_listed_with_its_form(api: Api) -> None:
    run = Waiting(api.dependencies, constraints=ASK)
    (gate,) = page(api)["gates"]
    assert (gate["runId"], gate["purpose"]) == (run.run_id, "ask-user")
    assert gate["form"]["question"] == ASK["askUser"]["question"]
    assert gate["recipe"] == "compile-default@1"


@pytest.mark.parametrize(
    "query",
    [
        {"cursor": "abc"},
        {"cursor": "e30"},
        {"cursor": "!"},
        {"limit": "0"},
        {"limit": "201"},
        {"search": " "},
        {"search": "a\0b"},
        {"asked": "everybody"},
        {"asked": "me"},
        {"dueWithinS": "-1"},
        {"tenant": ""},
        {"unknown": "1"},
    ],
)
def test_a_malformed_query_is_a_400(api: Api, query: dict[str, str]) -> None:
    answer = api.client.get("/gates", params=query)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_query")
