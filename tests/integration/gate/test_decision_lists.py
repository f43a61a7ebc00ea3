"""Decisions about many plans in one request: each plan has a result of its own."""

from collections.abc import Callable
from typing import Any

import pytest

from sisu_pipeline.contracts.access import Role
from sisu_pipeline.contracts.gate import Decision
from tests.integration.api.conftest import Api
from tests.integration.gate.conftest import As, Recipe
from tests.integration.gate.world import Waiting


def decide(api: Api, plans: list[dict[str, Any]], decision: str = "approved", **body: Any) -> dict[str, Any]:
    answer = api.post("/gates/decide", {"decision": decision, "decidedBy": "ann", "plans": plans, **body})
    assert answer.status_code == 200, answer.text
    results: dict[str, Any] = answer.json()
    return results


def plan(api: Api, run: Waiting) -> dict[str, Any]:
    return {"runId": run.run_id, "planSha256": run.plan_hash(api.client)}


def outcomes(results: dict[str, Any]) -> list[str]:
    return [result["outcome"] for result in results["results"]]


def test_each_plan_is_decided_by_itself_and_has_a_result(api: Api) -> None:
    good, rejected, changed = (Waiting(api.dependencies) for _ in range(3))
    rejected.say(Decision.REJECTED)
    plans = [
        plan(api, good),
        plan(api, rejected),
        {**plan(api, changed), "planSha256": "0" * 64},
        {"runId": "run_" + "0" * 32, "planSha256": "0" * 64},
    ]
    results = decide(api, plans, reason="all read")
    assert outcomes(results) == ["approved", "refused", "refused", "refused"]
    assert (results["recorded"], results["refused"]) == (1, 3)
    assert [result["runId"] for result in results["results"]] == [each["runId"] for each in plans]
    problems = [result["problem"]["code"] for result in results["results"][1:]]
    assert problems == ["decision_conflict", "decision_conflict", "not_found"]
    decision = api.get(f"/runs/{good.run_id}").json()["decision"]
    assert (decision["decidedBy"], decision["notes"], decision["planSha256"]) == (
        "ann",
        "all read",
        plans[0]["planSha256"],
    )
    assert changed.rows("plan_approvals") == []
    assert outcomes(decide(api, plans[:1], reason="all read")) == ["approved"]
    assert len(good.rows("human_interactions")) == 1


def test_a_rejection_of_many_ends_each_run(api: Api) -> None:
    waiting = [Waiting(api.dependencies) for _ in range(3)]
    results = decide(api, [plan(api, run) for run in waiting], "rejected", reason="superseded")
    assert outcomes(results) == ["rejected"] * 3
    for run in waiting:
        assert [row["notes"] for row in run.rows("plan_approvals")] == ["superseded"]


def test_an_approval_of_several_that_a_plan_requires_is_pending(api: Api, client_of: As, recipe: Recipe) -> None:
    recipe(required=2)
    run = Waiting(api.dependencies)
    sha256 = run.plan_hash(api.client)
    body = {"decision": "approved", "decidedBy": "x", "plans": [{"runId": run.run_id, "planSha256": sha256}]}
    ann, bob = client_of("ann", Role.APPROVER), client_of("bob", Role.APPROVER)
    (first,) = ann.post("/gates/decide", json=body).json()["results"]
    assert (first["outcome"], first["approvals"]) == ("pending", {"given": 1, "required": 2})
    (second,) = bob.post("/gates/decide", json=body).json()["results"]
    assert second["outcome"] == "approved"


def _without_hash(plans: list[dict[str, Any]]) -> None:
    del plans[0]["planSha256"]


def _twice(plans: list[dict[str, Any]]) -> None:
    plans[1]["runId"] = plans[0]["runId"]


@pytest.mark.parametrize("spoil", [_without_hash, _twice, list.clear])
def test_one_malformed_plan_refuses_the_whole_request_and_writes_nothing(
    api: Api, spoil: Callable[[list[dict[str, Any]]], None]
) -> None:
    waiting = [Waiting(api.dependencies) for _ in range(2)]
    plans = [plan(api, run) for run in waiting]
    spoil(plans)
    answer = api.post("/gates/decide", {"decision": "approved", "decidedBy": "ann", "plans": plans})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_contract")
    assert [run.rows("human_interactions") for run in waiting] == [[], []]


def test_a_rejection_of_many_requires_a_reason(api: Api) -> None:
    run = Waiting(api.dependencies)
    body = {"decision": "rejected", "decidedBy": "ann", "plans": [plan(api, run)], "reason": " "}
    assert api.post("/gates/decide", body).status_code == 400
    assert run.rows("plan_approvals") == []
