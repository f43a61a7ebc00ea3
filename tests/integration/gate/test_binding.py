"""A decision is about one plan, comes through one channel, and has a record that states both."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from sisu_pipeline import oracle
from sisu_pipeline.console.api_client import Api as Client
from sisu_pipeline.contracts.gate import Channel
from sisu_pipeline.domain.canonical import canonical_json
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store.queues import sandbox_instances
from sisu_pipeline.workflow import escalation
from tests.integration.api.conftest import Api
from tests.integration.gate.world import Waiting

APPROVE = {"approvedBy": "po"}


def decided(run: Waiting) -> dict[str, Any]:
    (row,) = run.rows("plan_approvals")
    return row


def test_a_decision_without_a_hash_is_about_the_plan_that_is_open(api: Api) -> None:
    run = Waiting(api.dependencies)
    assert api.post(f"/runs/{run.run_id}/approve-plan", APPROVE).status_code == 202
    assert decided(run)["plan_sha256"] == run.plan_hash(api.client)


def test_a_decision_before_its_gate_is_about_the_plan_at_the_gate_once_it_opens(api: Api) -> None:
    run = Waiting(api.dependencies, start=False)
    api.post(f"/runs/{run.run_id}/approve-plan", APPROVE)
    assert (decided(run)["plan_sha256"], decided(run)["record"]) == (None, None)
    assert run.segment().status is RunStatus.SUCCEEDED
    assert decided(run)["plan_sha256"] == run.plan_hash(api.client)
    assert json.loads(decided(run)["record"])["planSha256"] == run.plan_hash(api.client)


def test_an_early_decision_about_another_plan_keeps_its_hash(api: Api) -> None:
    run = Waiting(api.dependencies, start=False)
    api.post(f"/runs/{run.run_id}/approve-plan", {**APPROVE, "planSha256": "0" * 64})
    assert run.segment().status is RunStatus.RETRIES_EXCEEDED
    assert decided(run)["plan_sha256"] == "0" * 64
    with api.dependencies.database.connect() as connection:
        assert {verdict.law for verdict in oracle.judge(connection) if not verdict.holds} == set()


@pytest.mark.parametrize("is_early", [False, True])
def test_the_record_is_the_canonical_json_of_the_decision(api: Api, is_early: bool) -> None:
    run = Waiting(api.dependencies, start=not is_early)
    api.post(f"/runs/{run.run_id}/approve-plan", {"approvedBy": 'an \u00e9 "quoted" name'})
    run.segment()
    row, plan = decided(run), api.get(f"/runs/{run.run_id}/plan").json()
    with api.dependencies.database.connect() as connection:
        deployment = sandbox_instances.deployment(connection)
    at: datetime = row["decided_at"].astimezone(UTC)
    assert row["record"] == canonical_json(
        {
            "v": 1,
            "deployment": deployment,
            "runId": run.run_id,
            "gate": run.gate,
            "decision": "approved",
            "planSha256": plan["planSha256"],
            "policy": plan["complete"]["policy"],
            "person": 'an \u00e9 "quoted" name',
            "channel": "api",
            "decidedAt": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
    )
    shown = api.get(f"/runs/{run.run_id}").json()["decision"]
    assert (shown["record"], shown["channel"]) == (row["record"], "api")


def test_the_channel_is_what_the_server_sees_and_no_member_of_a_request(api: Api) -> None:
    runs = [Waiting(api.dependencies) for _ in range(4)]
    body = json.dumps(APPROVE).encode()
    client = Client(api.url)
    client.post("runs", runs[0].run_id, "approve-plan", body=body)
    client.close()
    api.client.post(
        f"/runs/{runs[1].run_id}/reject-plan",
        json={"rejectedBy": "po", "reason": "no"},
        headers={"Origin": api.url, "Sec-Fetch-Site": "same-origin"},
    )
    api.post(f"/runs/{runs[2].run_id}/approve-plan", APPROVE)
    refused = api.post(f"/runs/{runs[3].run_id}/approve-plan", {**APPROVE, "channel": "policy"})
    assert refused.status_code == 400
    channels = [[row["channel"] for row in run.rows("plan_approvals")] for run in runs]
    assert channels == [[Channel.CLI], [Channel.INBOX], [Channel.API], []]
    assert [[row["channel"] for row in run.rows("human_interactions")] for run in runs] == channels


def test_a_deadline_decides_by_its_own_channel(api: Api) -> None:
    run = Waiting(api.dependencies)
    run.overdue()
    escalation.enforce(api.dependencies)
    assert decided(run)["channel"] == Channel.DEADLINE
    assert json.loads(decided(run)["record"])["person"] == "sisu:deadline"
