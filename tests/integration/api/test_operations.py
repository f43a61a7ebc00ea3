"""POST /runs/{id}/cancel and /retry."""

from collections.abc import Callable

import pytest

from sisu_pipeline.contracts.gate import Decision
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store import gates, runs
from sisu_pipeline.store.rules.decisions import PlanDecision
from sisu_pipeline.store.runs import Run
from tests.builders import a_run
from tests.integration.api.conftest import Api

UNKNOWN = "run_" + "0" * 32


@pytest.fixture
def run(api: Api) -> Run:
    """A queued run."""
    with api.dependencies.database.connect() as connection:
        return a_run(connection)


def _failed(api: Api, run: Run) -> None:
    with api.dependencies.database.connect() as connection:
        running = runs.move(connection, run, RunStatus.RUNNING)
        runs.move(connection, running, RunStatus.RETRIES_EXCEEDED, error="broken", next_action="REPAIR")


def test_a_queued_run_is_canceled_with_its_reason(api: Api, run: Run) -> None:
    answer = api.post(f"/runs/{run.id}/cancel", {"actor": "ops", "reason": "wrong branch"})
    assert (answer.status_code, answer.json()) == (
        202,
        {"accepted": True, "runId": run.id, "status": "canceled", "retryCount": 0},
    )
    view = api.get(f"/runs/{run.id}").json()
    assert (view["status"], view["error"], view["nextAction"]) == (
        "canceled",
        "canceled by ops: wrong branch",
        "NONE",
    )


def test_canceling_again_is_the_same_answer_and_writes_nothing(
    api: Api, run: Run, contents: Callable[[], dict[str, str]]
) -> None:
    first = api.post(f"/runs/{run.id}/cancel", {"reason": "one"})
    before = contents()
    assert api.post(f"/runs/{run.id}/cancel", {"reason": "two"}).content == first.content
    assert contents() == before


@pytest.mark.parametrize("verb", ["cancel", "retry"])
def test_a_run_that_ended_well_is_a_409(api: Api, run: Run, verb: str) -> None:
    with api.dependencies.database.connect() as connection:
        runs.move(connection, runs.move(connection, run, RunStatus.RUNNING), RunStatus.SUCCEEDED)
    answer = api.post(f"/runs/{run.id}/{verb}", {})
    assert (answer.status_code, answer.json()["code"]) == (409, "illegal_state")


@pytest.mark.parametrize("verb", ["cancel", "retry"])
def test_malformed_is_a_400_before_unknown_is_a_404(api: Api, verb: str) -> None:
    assert api.post(f"/runs/{UNKNOWN}/{verb}", {"actor": ""}).status_code == 400
    assert api.post(f"/runs/{UNKNOWN}/{verb}", {"why": "x"}).status_code == 400
    assert api.post(f"/runs/{UNKNOWN}/{verb}", {}).status_code == 404


def test_a_failed_run_is_put_back_into_the_outbox_with_a_segment_of_its_own(api: Api, run: Run) -> None:
    _failed(api, run)
    answer = api.post(f"/runs/{run.id}/retry", {})
    assert (answer.status_code, answer.json()["status"], answer.json()["retryCount"]) == (202, "repairing", 1)
    with api.dependencies.database.connect() as connection:
        again = runs.get(connection, run.id)
    assert (again.segment, again.dagster_run_id, again.error) == (run.segment + 1, None, None)


def test_a_waiting_run_is_not_retried(api: Api, run: Run) -> None:
    with api.dependencies.database.connect() as connection:
        runs.move(connection, runs.move(connection, run, RunStatus.RUNNING), RunStatus.WAITING_INPUT)
    assert api.post(f"/runs/{run.id}/retry", {}).json()["code"] == "illegal_state"


def test_a_persons_no_is_not_repaired_by_trying_again(api: Api, run: Run) -> None:
    with api.dependencies.database.connect() as connection:
        gates.decide(connection, PlanDecision(run.id, Decision.REJECTED, "po", "too risky"))
    _failed(api, run)
    answer = api.post(f"/runs/{run.id}/retry", {})
    assert (answer.status_code, answer.json()["code"]) == (409, "decision_conflict")
    assert "rejected by po" in answer.json()["error"]
