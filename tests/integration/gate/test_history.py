"""Every change of a run and of the access to it has a row that states who made it, why and by which channel."""

import json
from typing import Any

import psycopg
import pytest

from sisu_pipeline import oracle
from sisu_pipeline.console.api_client import Api as Client
from sisu_pipeline.contracts.access import Role
from sisu_pipeline.contracts.gate import Channel
from sisu_pipeline.domain.canonical import canonical_json
from sisu_pipeline.workflow import escalation
from tests.integration.api.conftest import Api
from tests.integration.gate.conftest import As, Recipe
from tests.integration.gate.world import Waiting

BROWSER = {"Sec-Fetch-Site": "same-origin"}


def events(api: Api, run: Waiting, token: str = "") -> list[tuple[Any, ...]]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    found = api.client.get(f"/runs/{run.run_id}/history", headers=headers).json()["events"]
    return [(each["event"], each["person"], each["channel"], each["reason"]) for each in found]


def laws(api: Api) -> set[str]:
    """The broken laws about decisions and the history; a segment here leaves neither receipts nor a rollback."""
    with api.dependencies.database.connect() as connection:
        broken = {verdict.law for verdict in oracle.judge(connection) if not verdict.holds}
    return broken - {"510_results_and_receipts_agree", "700_patches_stand_or_are_taken_back"}


def through(channel: Channel, api: Api, path: str, body: dict[str, Any]) -> None:
    """Send a request as this channel does."""
    if channel is Channel.CLI:
        client = Client(api.url)
        client.post(*path.strip("/").split("/"), body=json.dumps(body).encode())
        client.close()
        return
    headers = {**BROWSER, "Origin": api.url} if channel is Channel.INBOX else {}
    assert api.client.post(path, json=body, headers=headers).is_success


@pytest.mark.parametrize("channel", [Channel.API, Channel.CLI, Channel.INBOX])
def test_a_submission_a_start_and_each_operation_name_their_channel(api: Api, channel: Channel) -> None:
    run = Waiting(api.dependencies)
    body = {"goal": f"by {channel}", "inputs": {}, "constraints": {}}
    through(channel, api, "/intents", body)
    intent = api.post("/intents", body).json()["intentId"]
    through(channel, api, f"/intents/{intent}/run", {"queuePartitionKey": "a"})
    with api.dependencies.database.connect() as connection:
        made = connection.execute(
            "SELECT action, person, channel FROM app.submissions WHERE intent_id = %s ORDER BY created_at", [intent]
        ).fetchall()
    assert [(row["action"], row["person"], row["channel"]) for row in made] == [
        ("submit", None, channel),
        ("start", None, channel),
    ]
    through(channel, api, f"/runs/{run.run_id}/cancel", {"actor": "ops", "reason": "enough"})
    assert events(api, run)[-1] == ("canceled", "ops", channel, "enough")
    assert laws(api) == set()


def test_a_rejection_a_retry_and_a_reopened_gate_state_who_and_why(api: Api) -> None:
    run = Waiting(api.dependencies)
    run.overdue()
    escalation.enforce(api.dependencies)
    run.segment()
    through(Channel.CLI, api, f"/runs/{run.run_id}/retry", {"actor": "ops", "reason": "weekend"})
    run.segment()
    through(Channel.INBOX, api, f"/runs/{run.run_id}/reject-plan", {"rejectedBy": "ann", "reason": "too risky"})
    run.segment()
    found = events(api, run)
    assert ("timeout", "sisu:deadline", "deadline", "reject") in found
    assert ("reopen", "ops", None, "weekend") in found
    assert ("repairing", "ops", "cli", "weekend") in found
    assert ("rejected", "ann", "inbox", "too risky") in found
    assert [each for each in found if each[0] in ("running", "waiting_input", "retries_exceeded")][-1][1:3] == (
        "sisu:engine",
        "engine",
    )
    assert laws(api) == set()


def test_the_decision_of_two_names_the_channel_plan_and_time_of_each(
    api: Api, client_of: As, recipe: Recipe
) -> None:
    recipe(required=2)
    run = Waiting(api.dependencies)
    ann, bob = (client_of(name, Role.APPROVER) for name in ("ann", "bob"))
    ann.post(f"/runs/{run.run_id}/approve-plan", json={"approvedBy": "x"}, headers={"User-Agent": "sisu-cli/1"})
    bob.post(f"/runs/{run.run_id}/approve-plan", json={"approvedBy": "x"}, headers={**BROWSER, "Origin": api.url})
    decision = ann.get(f"/runs/{run.run_id}").json()["decision"]
    assert (decision["decidedBy"], decision["channel"]) == ("ann, bob", "inbox")
    given = {row["actor"]: row for row in run.rows("human_interactions")}
    assert [(vote["person"], vote["channel"]) for vote in decision["votes"]] == [("ann", "cli"), ("bob", "inbox")]
    for vote in decision["votes"]:
        content = json.loads(vote["record"])
        assert vote["record"] == canonical_json(content)
        assert content == {
            **json.loads(decision["record"]),
            "person": vote["person"],
            "channel": vote["channel"],
            "decidedAt": given[vote["person"]]["created_at"].strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
    assert laws(api) == set()


def test_an_approval_before_its_gate_is_recorded_once_the_gate_is_open(api: Api) -> None:
    run = Waiting(api.dependencies, start=False)
    through(Channel.CLI, api, f"/runs/{run.run_id}/approve-plan", {"approvedBy": "ann"})
    assert run.rows("approval_votes") == []
    run.segment()
    (vote,) = run.rows("approval_votes")
    assert (vote["person"], vote["channel"]) == ("ann", "cli")
    assert vote["plan_sha256"] == run.plan_hash(api.client)
    assert laws(api) == set()


def test_an_approval_of_an_earlier_version_is_not_recorded_with_the_decision(
    api: Api, client_of: As, recipe: Recipe
) -> None:
    recipe(required=2)
    run = Waiting(api.dependencies)
    ann, bob = (client_of(name, Role.APPROVER) for name in ("ann", "bob"))
    ann.post(f"/runs/{run.run_id}/approve-plan", json={"approvedBy": "x"}, headers={"User-Agent": "sisu-cli/1"})
    view = bob.get(f"/runs/{run.run_id}/plan").json()
    edited = {"approvedBy": "x", "planSha256": view["planSha256"], "plan": {**view["plan"], "tests": ["mine"]}}
    bob.post(f"/runs/{run.run_id}/approve-plan", json=edited, headers={**BROWSER, "Origin": api.url})
    ann.post(f"/runs/{run.run_id}/approve-plan", json={"approvedBy": "x"})
    votes = {row["person"]: row for row in run.rows("approval_votes")}
    assert {person: row["channel"] for person, row in votes.items()} == {"ann": "api", "bob": "inbox"}
    (version,) = run.rows("plan_versions")
    assert {row["plan_sha256"] for row in votes.values()} == {version["plan_sha256"]}
    assert (version["edited_by"], version["channel"]) == ("bob", "inbox")
    token = str(ann.headers["Authorization"]).removeprefix("Bearer ")
    assert ("edit", "bob", "inbox", "version 2") in events(api, run, token)
    assert laws(api) == set()


def test_a_rejection_and_a_deadline_count_no_approvals(api: Api) -> None:
    run = Waiting(api.dependencies)
    api.post(f"/runs/{run.run_id}/reject-plan", {"rejectedBy": "ann", "reason": "no"})
    assert api.get(f"/runs/{run.run_id}").json()["decision"]["votes"] == []


def test_a_change_that_fails_leaves_no_row(api: Api) -> None:
    run = Waiting(api.dependencies)
    before = events(api, run)
    refused: list[tuple[str, dict[str, Any]]] = [
        ("retry", {"actor": "ops"}),
        ("cancel", {"actor": "sisu:deadline"}),
        ("approve-plan", {"approvedBy": "ann", "planSha256": "0" * 64}),
    ]
    for action, body in refused:
        assert api.post(f"/runs/{run.run_id}/{action}", body).status_code in (400, 409)
    assert events(api, run) == before


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/policies", {"id": "by-channel", "approvals": 1}),
        (
            "/recipes",
            {"name": "by-channel", "maxConcurrency": 1, "maxSteps": 9, "maxSandboxMinutes": 9, "policy": "default"},
        ),
    ],
)
def test_a_version_of_a_rule_names_its_channel(api: Api, path: str, body: dict[str, Any]) -> None:
    through(Channel.CLI, api, path, body)
    stored = api.get(f"{path}/by-channel").json()[path.strip("/")]
    assert [version["channel"] for version in stored] == [Channel.CLI]


def test_a_submission_and_a_decision_wait_for_each_other(api: Api) -> None:
    run = Waiting(api.dependencies)
    database = api.dependencies.database
    add = "INSERT INTO app.submissions (intent_id, action, person) VALUES (%s, 'submit', %s)"
    lock = "SELECT FROM app.runs WHERE id = %s FOR NO KEY UPDATE NOWAIT"
    with database.connect() as submitting, database.connect() as deciding:
        submitting.execute(add, [run.id, "ann"])
        with pytest.raises(psycopg.errors.LockNotAvailable):
            deciding.execute(lock, [run.run_id])
        deciding.rollback()
        submitting.commit()
        deciding.execute(lock, [run.run_id])
        submitting.execute("SET LOCAL lock_timeout = '200ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            submitting.execute(add, [run.id, "bob"])
        submitting.rollback()


def test_a_start_waits_for_a_submission_that_cannot_see_its_run(api: Api) -> None:
    body = {"goal": "two at once", "inputs": {}, "constraints": {}}
    intent = api.post("/intents", body).json()["intentId"]
    with api.dependencies.database.connect() as submitting:
        submitting.execute(
            "INSERT INTO app.submissions (intent_id, action, person) VALUES (%s, 'submit', 'ann')", [intent]
        )
        with api.dependencies.database.connect() as starting:
            starting.execute("SET LOCAL lock_timeout = '200ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                starting.execute("SELECT FROM app.intents WHERE id = %s FOR UPDATE", [intent])
            starting.rollback()
    started = api.post(f"/intents/{intent}/run", {"queuePartitionKey": "a"})
    assert started.status_code == 202


def test_a_repeated_submission_by_the_same_person_waits_for_no_decision(api: Api) -> None:
    run = Waiting(api.dependencies)
    database = api.dependencies.database
    with database.connect() as connection:
        stored = connection.execute("SELECT goal, payload FROM app.intents WHERE id = %s", [run.id]).fetchone()
    assert stored is not None
    with database.connect() as deciding:
        deciding.execute("SELECT FROM app.runs WHERE id = %s FOR UPDATE", [run.run_id])
        repeated = api.post("/intents", {"goal": stored["goal"], **stored["payload"]})
        assert repeated.json()["isReplay"]
        deciding.rollback()
