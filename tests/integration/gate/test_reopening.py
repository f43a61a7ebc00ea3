"""A deadline that passed without a decision is not final: an operator's retry opens the gate again."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from sisu_pipeline import oracle
from sisu_pipeline.contracts.access import Role
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store import deadlines, runs
from sisu_pipeline.workflow import escalation
from tests.integration.api.conftest import Api
from tests.integration.gate.conftest import As, Recipe
from tests.integration.gate.test_ask import ASK
from tests.integration.gate.world import Waiting
from tests.integration.life import FILES

HOUR = timedelta(hours=1)


def approve(api: Api, run: Waiting) -> httpx.Response:
    return api.post(f"/runs/{run.run_id}/approve-plan", {"approvedBy": "ann"})


def retry(api: Api, run: Waiting) -> httpx.Response:
    return api.post(f"/runs/{run.run_id}/retry", {"actor": "ops", "reason": "a long weekend"})


def pass_the_deadline(api: Api, run: Waiting) -> None:
    """The deadline passes, and the run ends."""
    run.overdue()
    escalation.enforce(api.dependencies)
    assert run.segment().status is RunStatus.RETRIES_EXCEEDED


def works_again(run: Waiting) -> None:
    """A retry is another Dagster run's."""
    run.owner = f"dagster-{run.run_id}-{run.run.retry_count}"
    run.segment()


def test_a_retry_opens_a_gate_again_that_its_deadline_rejected(api: Api) -> None:
    run = Waiting(api.dependencies)
    pass_the_deadline(api, run)
    assert run.files() == FILES
    refused = approve(api, run)
    assert (refused.status_code, refused.json()["code"]) == (409, "decision_conflict")
    assert "an operator can open the gate again with `sisu run retry RUN`" in refused.json()["error"]
    assert retry(api, run).status_code == 202
    works_again(run)
    assert run.run.status is RunStatus.WAITING_INPUT
    assert run.files() != FILES
    (gate,) = api.get(f"/runs/{run.run_id}/gates").json()["gates"]
    assert gate["state"] == "waiting"
    assert approve(api, run).status_code == 202
    assert run.segment().status is RunStatus.SUCCEEDED
    (passed,) = run.rows("passed_deadlines")
    assert (passed["reopened_by"], passed["reason"], passed["number"]) == ("ops", "a long weekend", 1)
    with api.dependencies.database.connect() as connection:
        broken = {verdict.law for verdict in oracle.judge(connection) if not verdict.holds}
    # The results of these tests are not the mock provider's, which would leave receipts.
    assert broken <= {"510_results_and_receipts_agree"}


@pytest.mark.parametrize(
    ("rules", "constraints", "seconds"),
    [({}, {"planApprovalTimeoutS": 1}, 3600), ({"longestDeadlineS": 60}, {"planApprovalTimeoutS": 1}, 60)],
)
def test_a_reopened_gate_waits_at_least_an_hour_unless_the_policy_allows_less(
    api: Api, recipe: Recipe, rules: dict[str, int], constraints: dict[str, int], seconds: int
) -> None:
    recipe(**rules)
    run = Waiting(api.dependencies, constraints=constraints)
    pass_the_deadline(api, run)
    retry(api, run)
    (gate,) = run.rows("human_gates")
    left = gate["deadline_at"] - datetime.now(UTC)
    assert timedelta(seconds=seconds - 30) < left <= timedelta(seconds=seconds)


def test_a_gate_may_pass_its_deadline_and_be_opened_again_more_than_once(api: Api) -> None:
    run = Waiting(api.dependencies)
    for number in (1, 2, 3):
        pass_the_deadline(api, run)
        (message,) = run.rows("escalations")
        assert message["payload"]["id"].endswith(run.gate if number == 1 else f"{run.gate}:{number}")
        assert message["delivered_at"] is None
        retry(api, run)
        works_again(run)
    assert [passed["number"] for passed in run.rows("passed_deadlines")] == [1, 2, 3]
    kinds = [entry["kind"] for entry in run.rows("human_interactions")]
    assert kinds == ["timeout"] * 3
    approve(api, run)
    assert run.segment().status is RunStatus.SUCCEEDED


def test_a_question_that_nobody_answered_is_asked_again(api: Api) -> None:
    run = Waiting(api.dependencies, constraints=ASK)
    pass_the_deadline(api, run)
    (gate,) = run.rows("human_gates")
    answer = f"/runs/{run.run_id}/gates/{gate['gate_key']}/answer"
    body = {"answeredBy": "ann", "answer": {"environment": "staging"}}
    refused = api.post(answer, body)
    assert refused.status_code == 409
    assert "sisu run retry" in refused.json()["error"]
    assert retry(api, run).status_code == 202
    works_again(run)
    assert run.run.status is RunStatus.WAITING_INPUT
    assert api.post(answer, body).status_code == 202
    run.segment()
    approve(api, run)
    assert run.segment().status is RunStatus.SUCCEEDED


def test_a_persons_rejection_is_not_reopened(api: Api) -> None:
    run = Waiting(api.dependencies)
    api.post(f"/runs/{run.run_id}/reject-plan", {"rejectedBy": "ann", "reason": "no"})
    assert run.segment().status is RunStatus.RETRIES_EXCEEDED
    refused = retry(api, run)
    assert refused.status_code == 409
    assert refused.json()["error"] == "the plan was rejected by ann: submit a changed intent instead"


def test_a_retry_while_the_rejection_still_takes_effect_reopens_nothing(api: Api) -> None:
    run = Waiting(api.dependencies)
    run.overdue()
    escalation.enforce(api.dependencies)
    assert (retry(api, run).status_code, run.run.status) == (409, RunStatus.WAITING_INPUT)
    assert run.rows("passed_deadlines") == []
    (decided,) = run.rows("plan_approvals")
    assert decided["decided_by"] == deadlines.ACTOR


def test_a_reopened_gate_names_the_operator_by_the_token(api: Api, client_of: As) -> None:
    run = Waiting(api.dependencies)
    pass_the_deadline(api, run)
    client_of("olga", Role.OPERATOR).post(f"/runs/{run.run_id}/retry", json={"actor": "somebody"})
    assert [passed["reopened_by"] for passed in run.rows("passed_deadlines")] == ["olga"]


def test_nothing_is_reopened_in_a_run_without_a_passed_deadline(api: Api) -> None:
    run = Waiting(api.dependencies)
    with api.dependencies.database.connect() as connection:
        assert not deadlines.reopen(connection, runs.lock(connection, run.run_id), "ops", "")
