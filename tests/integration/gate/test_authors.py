"""Where authors may not approve, submitters and editors do not count; nor do people who have lost the right."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from sisu_pipeline.contracts.access import Role
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store.access import tokens
from tests.builders import apply_policy
from tests.integration.api.conftest import Api
from tests.integration.gate.conftest import As, Recipe
from tests.integration.gate.world import Waiting
from tests.integration.life import FILES

START = {"queuePartitionKey": "a"}


class Team:
    """Clients of people who may submit and approve, and one run that waits for approval."""

    def __init__(self, api: Api, client_of: As) -> None:
        self.api = api
        self.clients = {
            name: client_of(name, Role.SUBMITTER, Role.APPROVER) for name in ("ann", "bob", "cem", "dan")
        }

    def submitted_by(self, submitter: str, *also: str) -> Waiting:
        """A run that `submitter` submitted and started, and the others again."""
        body = {"goal": "g", "inputs": {"files": FILES, "tests": ["t1"]}, "constraints": {}}
        for name in (submitter, *also):
            intent = self.clients[name].post("/intents", json=body).json()["intentId"]
            started = self.clients[name].post(f"/intents/{intent}/run", json=START)
            assert started.status_code == 202
        run = Waiting.__new__(Waiting)
        run.dependencies, run.id, run.run_id = self.api.dependencies, intent, started.json()["runId"]
        run.owner = f"dagster-{run.run_id}"
        run.segment()
        return run

    def approve(self, run: Waiting, name: str, **body: Any) -> httpx.Response:
        return self.clients[name].post(f"/runs/{run.run_id}/approve-plan", json={"approvedBy": name, **body})

    def edit(self, run: Waiting, name: str) -> httpx.Response:
        """Approve an edited version of the plan."""
        view = self.clients[name].get(f"/runs/{run.run_id}/plan").json()
        return self.approve(run, name, planSha256=view["planSha256"], plan={**view["plan"], "tests": ["mine"]})

    def revoke(self, name: str) -> None:
        with self.api.dependencies.database.connect() as connection:
            for token in tokens.every(connection):
                if token.owner == name:
                    tokens.revoke(connection, token.id)


@pytest.fixture
def team(api: Api, client_of: As) -> Iterator[Team]:
    yield Team(api, client_of)


def test_a_person_who_edits_a_plan_does_not_approve_it(team: Team, recipe: Recipe) -> None:
    recipe(self_approval=False)
    run = team.submitted_by("dan")
    assert team.edit(run, "ann").json()["approvals"] == {"given": 0, "required": 1}
    assert run.segment().status is RunStatus.WAITING_INPUT
    refused = team.approve(run, "ann")
    assert (refused.status_code, refused.json()["code"]) == (403, "decision_forbidden")
    assert refused.json()["error"].startswith("ann edited this plan: another person must approve it")
    assert "approvals" not in team.approve(run, "bob").json()
    assert run.segment().status is RunStatus.SUCCEEDED
    (decided,) = run.rows("plan_approvals")
    assert (decided["decided_by"], decided["approvers"]) == ("bob", ["bob"])


def test_an_edit_that_is_sent_again_has_the_same_answer(team: Team, recipe: Recipe) -> None:
    recipe(self_approval=False)
    run = team.submitted_by("dan")
    view = team.clients["ann"].get(f"/runs/{run.run_id}/plan").json()
    body = {"planSha256": view["planSha256"], "plan": {**view["plan"], "tests": ["mine"]}}
    first, again = team.approve(run, "ann", **body), team.approve(run, "ann", **body)
    assert first.content == again.content
    assert len(run.rows("plan_versions")) == 1


def test_of_two_approvals_one_is_not_the_editors(team: Team, recipe: Recipe) -> None:
    recipe(required=2, self_approval=False)
    run = team.submitted_by("dan")
    team.edit(run, "ann")
    assert team.approve(run, "bob").json()["approvals"] == {"given": 1, "required": 2}
    assert team.approve(run, "ann").status_code == 403
    assert "approvals" not in team.approve(run, "cem").json()


def test_a_person_who_submits_or_starts_again_is_an_author_too(team: Team, recipe: Recipe) -> None:
    recipe(self_approval=False)
    run = team.submitted_by("dan", "ann")
    for name in ("dan", "ann"):
        refused = team.approve(run, name)
        assert refused.status_code == 403
        assert refused.json()["error"].startswith(f"{name} submitted this intent")
    assert team.approve(run, "bob").status_code == 202


def test_an_approval_before_the_person_became_an_author_does_not_count(team: Team, recipe: Recipe) -> None:
    recipe(required=2, self_approval=False)
    run = team.submitted_by("dan")
    assert team.approve(run, "ann").json()["approvals"] == {"given": 1, "required": 2}
    body = {"goal": "g", "inputs": {"files": FILES, "tests": ["t1"]}, "constraints": {}}
    assert team.clients["ann"].post("/intents", json=body).json()["isReplay"]
    assert team.approve(run, "bob").json()["approvals"] == {"given": 1, "required": 2}
    assert "approvals" not in team.approve(run, "cem").json()


def test_one_unknown_submitter_is_enough_to_refuse_every_approval(team: Team, recipe: Recipe) -> None:
    recipe(self_approval=False)
    run = team.submitted_by("dan")
    with team.api.dependencies.database.connect() as connection:
        connection.execute("INSERT INTO app.submissions (intent_id, action) VALUES (%s, 'start')", [run.id])
    refused = team.approve(run, "bob")
    assert refused.status_code == 403
    assert "the submitter is unknown" in refused.json()["error"]


def test_an_approval_that_names_no_plan_counts_for_the_plan_as_it_is_each_time(team: Team, recipe: Recipe) -> None:
    recipe(required=2)
    run = team.submitted_by("dan")
    assert team.approve(run, "ann").json()["approvals"] == {"given": 1, "required": 2}
    assert team.edit(run, "bob").json()["approvals"] == {"given": 1, "required": 2}
    keyed = team.approve(run, "cem", dedupeKey="mine")
    assert "approvals" not in keyed.json()


def test_the_same_approval_after_an_edit_is_one_of_the_edited_plan(team: Team, recipe: Recipe) -> None:
    recipe(required=3)
    run = team.submitted_by("dan")
    team.approve(run, "ann")
    team.approve(run, "cem", dedupeKey="mine")
    team.edit(run, "bob")
    assert team.approve(run, "ann").json()["approvals"] == {"given": 2, "required": 3}
    stale = team.approve(run, "cem", dedupeKey="mine")
    assert stale.json()["error"] == "dedupeKey mine was used for an earlier version of the plan"
    assert "approvals" not in team.approve(run, "cem").json()


def test_the_vote_of_a_revoked_token_does_not_count(team: Team, recipe: Recipe) -> None:
    recipe(required=2)
    run = team.submitted_by("dan")
    team.approve(run, "ann")
    team.revoke("ann")
    assert team.approve(run, "bob").json()["approvals"] == {"given": 1, "required": 2}
    (shown,) = team.clients["bob"].get(f"/runs/{run.run_id}/gates").json()["gates"]
    (listed,) = team.clients["bob"].get("/inbox").json()["gates"]
    assert shown["approvals"] == listed["approvals"] == {"given": 1, "required": 2}
    assert run.segment().status is RunStatus.WAITING_INPUT
    assert "approvals" not in team.approve(run, "cem").json()
    (decided,) = run.rows("plan_approvals")
    assert decided["approvers"] == ["bob", "cem"]


def test_the_vote_of_a_removed_approver_does_not_count(team: Team, recipe: Recipe) -> None:
    recipe(required=2, approvers=["ann", "bob", "cem"])
    run = team.submitted_by("dan")
    team.approve(run, "ann")
    recipe(required=2, approvers=["bob", "cem", "dan"])
    assert team.approve(run, "bob").json()["approvals"] == {"given": 1, "required": 2}
    for name, reason in (
        ("ann", "ann is no longer an approver of policy default@2"),
        ("dan", "dan is not an approver of policy default@2"),
    ):
        refused = team.approve(run, name)
        assert refused.status_code == 403
        assert refused.json()["error"].startswith(reason)
    assert "approvals" not in team.approve(run, "cem").json()


def test_approvers_may_be_named_by_the_groups_of_their_tokens(api: Api, team: Team) -> None:
    with api.dependencies.database.connect() as connection:
        apply_policy(connection, approvers={"groups": ["leads"]})
        tokens.create(connection, "sisu_lead", "ann", [Role.VIEWER], ["leads"])
    run = team.submitted_by("dan")
    assert team.approve(run, "bob").status_code == 403
    assert team.approve(run, "ann").status_code == 202
