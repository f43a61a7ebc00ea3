"""A gate that opens, a decision, a passed deadline and the end of a run each write one event with their change."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from resources.database import Database
from sisu_pipeline.contracts.configuration.notification_receivers import Receiver
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store.queues import notification_outbox
from sisu_pipeline.workflow import escalation
from tests.builders import apply_policy
from tests.integration.api.conftest import Api, Live, dependencies_over, serving
from tests.integration.gate import rounds
from tests.integration.gate.test_ask import ASK, FITS, answer
from tests.integration.gate.test_reopening import approve, pass_the_deadline, retry, works_again
from tests.integration.gate.world import Waiting
from tests.integration.test_automatic_approval import RULE


@pytest.fixture(scope="module")
def live(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """An API of a deployment whose plans a coding agent can change."""
    folder = tmp_path_factory.mktemp("events")
    with serving(replace(dependencies_over(database, folder), asks_agent=True)) as running:
        yield running


def waiting(api: Api, **life: Any) -> Waiting:
    return Waiting(replace(api.dependencies, asks_agent=False), **life)


def events(run: Waiting) -> list[tuple[str, str]]:
    """The events of a run in order, each with what tells it from others of its kind."""
    rows = sorted(run.rows("notification_events"), key=lambda row: row["created_at"])
    return [(row["kind"], row["facts"].get("decision") or row["facts"].get("status") or "") for row in rows]


def listen(api: Api, *receivers: Receiver) -> None:
    """Store receivers, as the notifier does when it starts."""
    with api.dependencies.database.connect() as connection:
        notification_outbox.replace_receivers(connection, receivers)


def a_receiver(name: str = "ops", **members: Any) -> Receiver:
    return Receiver.from_json({"name": name, "url": "ntfy://localhost/t", **members})


def deliveries(api: Api, receiver: str) -> list[str]:
    """The kinds of the events that are due to a receiver."""
    with api.dependencies.database.connect() as connection:
        rows = connection.execute(
            "SELECT kind FROM app.notification_deliveries JOIN app.notification_events ON id = event_id "
            "WHERE receiver = %s ORDER BY created_at",
            [receiver],
        ).fetchall()
    return [row["kind"] for row in rows]


def test_a_run_that_is_approved_has_one_event_each_for_its_gate_the_decision_and_the_end(api: Api) -> None:
    run = waiting(api)
    (opened,) = run.rows("notification_events")
    assert (opened["kind"], opened["gate_key"]) == ("gate.opened", run.gate)
    assert opened["facts"].keys() == {"purpose", "deadlineAt", "onTimeout", "planSha256"}
    for _ in range(2):
        assert approve(api, run).status_code == 202
    assert run.segment().status is RunStatus.SUCCEEDED
    assert events(run) == [("gate.opened", ""), ("gate.decided", "approved"), ("run.ended", "succeeded")]


def test_a_decision_with_a_key_of_its_own_has_the_event_of_one_in_a_batch(api: Api) -> None:
    run = waiting(api)
    rejected = {"rejectedBy": "ann", "reason": "no", "dedupeKey": "k"}
    assert api.post(f"/runs/{run.run_id}/reject-plan", rejected).status_code == 202
    run.segment()
    assert events(run) == [("gate.opened", ""), ("gate.decided", "rejected"), ("run.ended", "retries_exceeded")]
    decided = next(row for row in run.rows("notification_events") if row["kind"] == "gate.decided")
    assert (decided["facts"]["person"], decided["facts"]["notes"]) == ("ann", "no")


def test_a_gate_that_was_decided_early_does_not_ask_for_a_person(api: Api) -> None:
    run = waiting(api, start=False)
    assert approve(api, run).status_code == 202
    assert run.segment().status is RunStatus.SUCCEEDED
    assert events(run) == [("gate.decided", "approved"), ("run.ended", "succeeded")]


def test_a_gate_that_its_policy_approves_does_not_ask_for_a_person(api: Api) -> None:
    with api.dependencies.database.connect() as connection:
        apply_policy(connection, "default", automaticApproval=RULE)
    run = waiting(api, testCommand="pytest")
    assert events(run)[0] == ("gate.decided", "approved")
    assert "gate.opened" not in [kind for kind, _ in events(run)]


def test_each_deadline_that_passes_and_each_opening_has_an_event_of_its_own(api: Api) -> None:
    run = waiting(api)
    for _ in range(2):
        pass_the_deadline(api, run)
        assert escalation.enforce(api.dependencies) == []
        retry(api, run)
        works_again(run)
    once = [("gate.opened", ""), ("gate.timed_out", "rejected"), ("run.ended", "retries_exceeded")]
    assert events(run) == [*once, *once, ("gate.opened", "")]
    assert len({row["id"] for row in run.rows("notification_events")}) == 7


def test_a_question_its_answer_and_a_missing_answer_have_events(api: Api) -> None:
    answered, missed = waiting(api, constraints=ASK), waiting(api, constraints=ASK)
    answer(api, answered, FITS)
    assert events(answered) == [("gate.opened", ""), ("gate.decided", "answered")]
    pass_the_deadline(api, missed)
    assert events(missed)[1] == ("gate.timed_out", "unanswered")


def test_a_gate_that_opens_again_for_a_changed_plan_has_another_event(api: Api) -> None:
    run = waiting(api)
    assert rounds.request(api.client, run).status_code == 202
    assert events(run) == [("gate.opened", ""), ("gate.decided", "changes_requested")]
    assert rounds.settle(api.dependencies, run, rounds.an_answer())
    assert events(run)[2:] == [("gate.opened", "")]
    hashes = [row["facts"]["planSha256"] for row in run.rows("notification_events") if row["kind"] == "gate.opened"]
    assert len(set(hashes)) == 2


def test_a_gate_that_opens_again_because_the_agent_failed_has_another_event(api: Api) -> None:
    run = waiting(api)
    rounds.request(api.client, run)
    rounds.settle(api.dependencies, run, rounds.FAILURE)
    assert [kind for kind, _ in events(run)] == ["gate.opened", "gate.decided", "gate.opened"]


def test_a_canceled_run_has_one_end(api: Api) -> None:
    run = waiting(api)
    for _ in range(2):
        assert api.post(f"/runs/{run.run_id}/cancel", {"actor": "ann", "reason": "wrong"}).status_code == 202
    assert events(run) == [("gate.opened", ""), ("run.ended", "canceled")]


def test_a_receiver_gets_the_events_of_the_runs_that_it_names(api: Api) -> None:
    every = ["gate.opened", "gate.decided", "run.ended"]
    expected: dict[str, tuple[dict[str, list[str]], list[str]]] = {
        "all": ({}, every),
        "ends": ({"events": ["run.ended"]}, ["run.ended"]),
        "recipe": ({"recipes": ["another", "compile-default"]}, every),
        "other-recipe": ({"recipes": ["another"]}, []),
        "other-partition": ({"partitions": ["another"]}, []),
        "tenant": ({"tenants": ["acme"]}, every),
        "other-tenant": ({"tenants": ["another"]}, []),
        "group": ({"groups": ["leads"]}, every),
        "other-group": ({"groups": ["interns"]}, []),
        "tenant-of-other-group": ({"tenants": ["acme"], "groups": ["interns"]}, []),
    }
    listen(api, *(a_receiver(name, **members) for name, (members, _) in expected.items()))
    with api.dependencies.database.connect() as connection:
        apply_policy(connection, "default", approvers={"people": ["ann"], "groups": ["leads"]})
    run = waiting(api, request={"tenantId": "acme"})
    approve(api, run)
    run.segment()
    assert {name: deliveries(api, name) for name in expected} == {
        name: kinds for name, (_, kinds) in expected.items()
    }


def test_a_receiver_that_was_removed_gets_nothing_more_and_one_that_was_added_nothing_earlier(api: Api) -> None:
    listen(api, a_receiver("old"))
    waiting(api)
    listen(api, a_receiver("new"))
    run = waiting(api)
    assert len(deliveries(api, "old")) == 1
    assert deliveries(api, "new") == ["gate.opened"]
    with api.dependencies.database.connect() as connection:
        assert [state.name for state in notification_outbox.states(connection)] == ["new"]
        (old,) = connection.execute(
            "SELECT state FROM app.notification_deliveries WHERE receiver = 'old'"
        ).fetchall()
    assert old["state"] == "dropped"
    assert run.rows("notification_events")


def remind(api: Api) -> None:
    for _ in range(2):
        with api.dependencies.database.connect() as connection:
            notification_outbox.remind(connection)


def opened_earlier(run: Waiting, left: str) -> None:
    """A gate that opened two hours ago, and whose deadline is `left` away."""
    with run.dependencies.database.connect() as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(
            "UPDATE app.notification_events SET created_at = now() - interval '2 hours' WHERE run_id = %s",
            [run.run_id],
        )
        connection.execute(
            "UPDATE app.human_gates SET deadline_at = now() + %s::interval WHERE run_id = %s", [left, run.run_id]
        )


def test_a_gate_reminds_each_receiver_once_before_its_deadline_and_before_the_next(api: Api) -> None:
    listen(api, a_receiver("early", reminderMinutes=60), a_receiver("late", reminderMinutes=10))
    run = waiting(api)
    remind(api)
    assert deliveries(api, "early") == ["gate.opened"]
    opened_earlier(run, "50 minutes")
    remind(api)
    assert deliveries(api, "early") == ["gate.opened", "gate.reminder"]
    assert deliveries(api, "late") == ["gate.opened"]
    opened_earlier(run, "5 minutes")
    remind(api)
    assert deliveries(api, "early") == deliveries(api, "late") == ["gate.opened", "gate.reminder"]
    pass_the_deadline(api, run)
    retry(api, run)
    works_again(run)
    opened_earlier(run, "5 minutes")
    remind(api)
    assert deliveries(api, "late").count("gate.reminder") == 2


def test_a_gate_that_opens_shortly_before_its_deadline_or_is_decided_does_not_remind(api: Api) -> None:
    listen(api, a_receiver(reminderMinutes=10))
    waiting(api, constraints={"planApprovalTimeoutS": 300})
    decided = waiting(api)
    approve(api, decided)
    opened_earlier(decided, "5 minutes")
    remind(api)
    assert "gate.reminder" not in deliveries(api, "ops")
