"""POST /runs/{id}/approve-plan and /reject-plan."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.steps.step_result import plan_gate
from sisu_pipeline.store import gates, runs
from sisu_pipeline.store.runs import Run
from tests.builders import a_run, an_intent
from tests.integration.api.conftest import Api

PLAN, OTHER_PLAN = "a" * 64, "b" * 64
UNKNOWN = "run_" + "0" * 32
APPROVE = {"approvedBy": "po"}
REJECT = {"rejectedBy": "po", "reason": "too risky"}


@pytest.fixture
def run(api: Api) -> Run:
    """A queued run."""
    with api.dependencies.database.connect() as connection:
        return a_run(connection)


def _waiting(api: Api, run: Run) -> None:
    with api.dependencies.database.connect() as connection:
        gates.open_gate(connection, run.id, plan_gate(run.id, PLAN))
        runs.move(connection, runs.move(connection, run, RunStatus.RUNNING), RunStatus.WAITING_INPUT)


def test_an_approval_is_202_and_says_when(api: Api, run: Run) -> None:
    _waiting(api, run)
    answer = api.post(f"/runs/{run.id}/approve-plan", {**APPROVE, "notes": "fine", "planSha256": PLAN})
    assert answer.status_code == 202
    shown = api.get(f"/runs/{run.id}").json()["decision"]
    assert answer.json() == {"accepted": True, "runId": run.id, "approvedAt": shown["decidedAt"]}
    assert shown["decidedAt"].endswith("Z")
    record = json.loads(shown["record"])
    assert (record["person"], record["planSha256"], record["runId"]) == ("po", PLAN, run.id)
    (vote,) = shown.pop("votes")
    assert (vote["person"], vote["planSha256"], vote["channel"]) == ("po", PLAN, "api")
    assert {**shown, "decidedAt": None, "record": None} == {
        "decision": "approved",
        "decidedBy": "po",
        "decidedAt": None,
        "notes": "fine",
        "planSha256": PLAN,
        "channel": "api",
        "record": None,
    }


def test_the_workflow_id_names_the_run_as_well(api: Api, run: Run) -> None:
    assert api.post(f"/runs/{run.workflow_id}/approve-plan", APPROVE).json()["runId"] == run.id


def test_an_approval_before_the_gate_opens_is_kept(api: Api, run: Run) -> None:
    assert api.post(f"/runs/{run.id}/approve-plan", APPROVE).status_code == 202
    view = api.get(f"/runs/{run.id}").json()
    assert (view["status"], view["gate"], view["decision"]["decision"]) == ("queued", None, "approved")


def test_approving_twice_gives_the_first_answer_whoever_asks(
    api: Api, run: Run, contents: Callable[[], dict[str, str]]
) -> None:
    first = api.post(f"/runs/{run.id}/approve-plan", APPROVE)
    before = contents()
    again = api.post(f"/runs/{run.id}/approve-plan", APPROVE)
    other = api.post(f"/runs/{run.id}/approve-plan", {"approvedBy": "somebody else", "notes": "me too"})
    assert first.content == again.content == other.content
    assert contents() == before


@pytest.mark.parametrize(
    ("first", "second", "error"),
    [
        (("approve-plan", APPROVE), ("reject-plan", REJECT), "plan already approved by po"),
        (("reject-plan", REJECT), ("approve-plan", APPROVE), "plan already rejected by po"),
    ],
)
def test_the_other_decision_afterwards_is_a_409(
    api: Api, run: Run, first: tuple[str, object], second: tuple[str, object], error: str
) -> None:
    assert api.post(f"/runs/{run.id}/{first[0]}", first[1]).status_code == 202
    answer = api.post(f"/runs/{run.id}/{second[0]}", second[1])
    assert answer.status_code == 409
    assert answer.json()["code"] == "decision_conflict"
    assert answer.json()["error"].startswith(error)


def test_a_rejection_is_202_and_keeps_its_reason(api: Api, run: Run) -> None:
    answer = api.post(f"/runs/{run.id}/reject-plan", REJECT)
    assert answer.status_code == 202
    assert set(answer.json()) == {"accepted", "runId", "rejectedAt"}
    assert api.get(f"/runs/{run.id}").json()["decision"]["notes"] == "too risky"


def test_a_decision_about_another_plan_is_a_409_and_decides_nothing(api: Api, run: Run) -> None:
    _waiting(api, run)
    answer = api.post(f"/runs/{run.id}/approve-plan", {**APPROVE, "planSha256": OTHER_PLAN})
    assert (answer.status_code, answer.json()["code"]) == (409, "decision_conflict")
    assert api.get(f"/runs/{run.id}").json()["decision"] is None


def test_a_first_decision_on_a_run_that_has_ended_is_a_409(api: Api, run: Run) -> None:
    with api.dependencies.database.connect() as connection:
        runs.move(connection, run, RunStatus.CANCELED)
    answer = api.post(f"/runs/{run.id}/approve-plan", APPROVE)
    assert answer.status_code == 409
    assert answer.json()["error"] == "the run is canceled: its plan can no longer be approved or rejected"


def test_the_same_decision_on_a_run_that_has_ended_is_the_first_answer(api: Api, run: Run) -> None:
    first = api.post(f"/runs/{run.id}/approve-plan", APPROVE)
    with api.dependencies.database.connect() as connection:
        runs.move(connection, run, RunStatus.CANCELED)
    assert api.post(f"/runs/{run.id}/approve-plan", APPROVE).content == first.content


def test_the_contract_is_checked_before_the_run_is_looked_up(api: Api) -> None:
    assert api.post(f"/runs/{UNKNOWN}/approve-plan", {}).status_code == 400
    assert api.post(f"/runs/{UNKNOWN}/reject-plan", {"rejectedBy": "po"}).status_code == 400
    answer = api.post(f"/runs/{UNKNOWN}/approve-plan", APPROVE)
    assert (answer.status_code, answer.json()["error"]) == (404, "run not found")


def test_of_many_concurrent_decisions_the_first_stands_for_all(api: Api, run: Run) -> None:
    barrier = threading.Barrier(20)

    def decide(index: int) -> tuple[str, httpx.Response]:
        verb, body = ("approve-plan", APPROVE) if index % 2 else ("reject-plan", REJECT)
        barrier.wait()
        return verb, api.post(f"/runs/{run.id}/{verb}", body)

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(decide, range(20)))
    winner = api.get(f"/runs/{run.id}").json()["decision"]["decision"]
    verb = {"approved": "approve-plan", "rejected": "reject-plan"}[winner]
    for asked, answer in answers:
        assert answer.status_code == (202 if asked == verb else 409)
    assert len({answer.content for _, answer in answers}) == 2


def test_the_inbox_shows_the_beginning_of_a_long_goal_and_its_gate_all_of_it(api: Api) -> None:
    goal = "g" * 1_000_000
    with api.dependencies.database.connect() as connection:
        run = a_run(connection, an_intent(goal))
        ended = a_run(connection, an_intent(f"{goal} too"))
        runs.move(connection, ended, RunStatus.CANCELED)
    _waiting(api, run)
    inbox = api.get("/inbox")
    assert len(inbox.content) < 20_000
    assert inbox.json()["gates"][0]["goal"] == "g" * 1999 + "…"
    assert inbox.json()["finished"][0]["goal"] == "g" * 1999 + "…"
    assert api.get(f"/runs/{run.id}/gates").json()["gates"][0]["goal"] == goal
