"""The first decision is final; a later one gets its record or a conflict."""

import threading
from dataclasses import replace

import pytest

from resources.database import Connection, Database
from sisu_pipeline.contracts.gate import Decision
from sisu_pipeline.domain.errors import DecisionConflict, DeterminismBreach, NotFound
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.steps.step_result import plan_gate
from sisu_pipeline.store import gates, runs
from sisu_pipeline.store.queues import outbox
from sisu_pipeline.store.rules.decisions import PlanDecision, RecordedDecision
from sisu_pipeline.store.runs import Run
from tests.builders import a_run, an_intent

APPROVED, REJECTED = Decision.APPROVED, Decision.REJECTED
PLAN = "1" * 64
OTHER = "0" * 64


def decide(
    connection: Connection,
    run: Run,
    decision: Decision,
    by: str = "po",
    notes: str | None = None,
    plan_sha256: str | None = None,
) -> RecordedDecision:
    return gates.decide(connection, PlanDecision(run.id, decision, by, notes, plan_sha256))


def plan_hash(run: Run) -> str:
    return plan_gate(run.id, PLAN).plan_sha256


def with_open_gate(connection: Connection, goal: str = "demo", **request: str) -> Run:
    run = a_run(connection, an_intent(goal), **request)
    gates.open_gate(connection, run.id, plan_gate(run.id, PLAN))
    return run


def test_a_decision_is_stored_with_its_author_and_reason(clean_database: Database) -> None:
    with clean_database.connect() as connection:
        run = with_open_gate(connection)
        assert gates.decision(connection, run.id) is None
        decided = decide(connection, run, REJECTED, "po", "too big", plan_hash(run))
        assert (decided.decision, decided.decided_by, decided.notes) == (REJECTED, "po", "too big")
        assert gates.decision(connection, run.id) == decided


def test_the_same_decision_by_anyone_returns_the_first_record(clean_database: Database) -> None:
    with clean_database.connect() as connection:
        run = with_open_gate(connection)
        first = decide(connection, run, APPROVED, "po", "fine", plan_hash(run))
        assert decide(connection, run, APPROVED, "someone else", "also fine") == first
        assert decide(connection, run, APPROVED, plan_sha256=plan_hash(run)) == first


@pytest.mark.parametrize(("first", "second"), [(APPROVED, REJECTED), (REJECTED, APPROVED)])
def test_the_opposite_decision_is_a_conflict_and_the_first_is_final(
    clean_database: Database, first: Decision, second: Decision
) -> None:
    with clean_database.connect() as connection:
        run = with_open_gate(connection)
        kept = decide(connection, run, first)
        with pytest.raises(DecisionConflict, match=f"already {first} by po"):
            decide(connection, run, second, "someone else")
        assert gates.decision(connection, run.id) == kept


def test_a_decision_about_another_plan_is_a_conflict_and_writes_nothing(clean_database: Database) -> None:
    with clean_database.connect() as connection:
        run = with_open_gate(connection)
        with pytest.raises(DecisionConflict, match="the plan has changed"):
            decide(connection, run, APPROVED, plan_sha256=OTHER)
        assert gates.decision(connection, run.id) is None


def test_deciding_again_about_another_plan_is_a_conflict(clean_database: Database) -> None:
    with clean_database.connect() as connection:
        run = with_open_gate(connection)
        decide(connection, run, APPROVED, plan_sha256=plan_hash(run))
        with pytest.raises(DecisionConflict, match="the plan has changed"):
            decide(connection, run, APPROVED, plan_sha256=OTHER)


def test_a_decision_is_accepted_before_the_gate_opens(clean_database: Database) -> None:
    with clean_database.connect() as connection:
        run = a_run(connection)
        early = decide(connection, run, APPROVED, plan_sha256=OTHER)
        assert early.plan_sha256 == OTHER
        assert gates.decision(connection, run.id) == early


@pytest.mark.parametrize("end", [RunStatus.CANCELED, RunStatus.FAILED])
def test_an_ended_run_takes_no_new_decision_but_repeats_an_old_one(
    clean_database: Database, end: RunStatus
) -> None:
    with clean_database.connect() as connection:
        run = with_open_gate(connection)
        runs.move(connection, run, end)
        with pytest.raises(DecisionConflict, match=f"run is {end}"):
            decide(connection, run, APPROVED)
        assert gates.decision(connection, run.id) is None


def test_a_decision_is_final_after_the_run_has_ended(clean_database: Database) -> None:
    with clean_database.connect() as connection:
        run = with_open_gate(connection)
        first = decide(connection, run, APPROVED)
        runs.move(connection, run, RunStatus.CANCELED)
        assert decide(connection, run, APPROVED) == first


def test_a_decision_on_an_unknown_run_is_not_found(clean_database: Database) -> None:
    with clean_database.connect() as connection, pytest.raises(NotFound):
        gates.decide(connection, PlanDecision("run_nowhere", APPROVED, "po"))


def test_of_many_people_deciding_at_once_one_decision_wins(clean_database: Database) -> None:
    with clean_database.connect() as connection:
        run = with_open_gate(connection)
    answers: list[RecordedDecision | DecisionConflict] = []
    together = threading.Barrier(8)

    def person(number: int) -> None:
        together.wait()
        try:
            with clean_database.connect() as connection:
                answers.append(decide(connection, run, REJECTED if number % 2 else APPROVED, f"person {number}"))
        except DecisionConflict as conflict:
            answers.append(conflict)

    people = [threading.Thread(target=person, args=[number]) for number in range(8)]
    for one in people:
        one.start()
    for one in people:
        one.join()
    assert len(answers) == 8
    decided = [answer for answer in answers if isinstance(answer, RecordedDecision)]
    assert len(decided) == 4
    assert len(set(decided)) == 1


def test_a_gate_opens_once_and_only_for_its_plan(clean_database: Database) -> None:
    with clean_database.connect() as connection:
        run = a_run(connection)
        assert gates.plan_hash(connection, run.id) is None
        gate = plan_gate(run.id, PLAN)
        gates.open_gate(connection, run.id, gate)
        gates.open_gate(connection, run.id, gate)
        assert gates.plan_hash(connection, run.id) == gate.plan_sha256
        with pytest.raises(DeterminismBreach, match="another plan"):
            gates.open_gate(connection, run.id, replace(gate, plan_sha256=OTHER))


def test_a_decision_notifies_the_listeners(clean_database: Database) -> None:
    with clean_database.connect(autocommit=True) as listener:
        listener.execute("LISTEN sisu_decided")
        with clean_database.connect() as connection:
            run = with_open_gate(connection)
            decide(connection, run, APPROVED)
        (notification,) = listener.notifies(timeout=10, stop_after=1)
        assert notification.payload == run.id


def test_a_decision_is_listed_until_it_has_been_acted_on(clean_database: Database) -> None:
    with clean_database.connect() as connection:
        others = [with_open_gate(connection, f"waits {number}") for number in range(3)]
        run = with_open_gate(connection, "decided")
        for each in (*others, run):
            runs.move(connection, runs.lock(connection, each.id), RunStatus.RUNNING)
            waits = runs.lock(connection, each.id)
            runs.move(connection, waits, RunStatus.WAITING_INPUT, next_action="APPROVE_PLAN", next_segment=True)
        everybody = [each.id for each in (*others, run)]
        assert outbox.decided(connection, 10) == outbox.decided_on(connection, everybody, 10) == []
        decide(connection, run, APPROVED)
        (found,) = outbox.decided(connection, 10)
        assert (found.id, found.waits, found.unreported, found.decision) == (run.id, True, True, APPROVED)
        assert (
            outbox.decided_on(connection, everybody, 10) == outbox.decided_on(connection, [run.id], 10) == [found]
        )
        assert outbox.decided_on(connection, [others[0].id], 10) == outbox.decided_on(connection, [], 10) == []
        outbox.mark_requested(connection, [run.workflow_id])
        assert [(each.waits, each.unreported) for each in outbox.decided(connection, 10)] == [(False, True)]
        outbox.mark_reported(connection, [run.id])
        assert outbox.decided(connection, 10) == outbox.decided_on(connection, everybody, 10) == []


def test_decisions_of_many_runs_are_acted_on_in_parts_and_partitions_take_turns(clean_database: Database) -> None:
    with clean_database.connect() as connection:
        found = [with_open_gate(connection, f"busy {number}", queuePartitionKey="busy") for number in range(5)]
        found.append(with_open_gate(connection, "quiet", queuePartitionKey="quiet"))
        for each in found:
            runs.move(connection, runs.lock(connection, each.id), RunStatus.RUNNING)
            waits = runs.lock(connection, each.id)
            runs.move(connection, waits, RunStatus.WAITING_INPUT, next_action="APPROVE_PLAN", next_segment=True)
            decide(connection, each, APPROVED)
        quiet, names = found[-1], [each.id for each in found]
        part = outbox.decided_on(connection, names, 3)
        assert len(part) == 3 and quiet.id in [row.id for row in part[:2]]
        outbox.mark_requested(connection, [row.workflow_id for row in part])
        # What only has to be shown in Dagster comes after what waits.
        later = outbox.decided_on(connection, names, 10)
        assert [row.waits for row in later] == [True] * 3 + [False] * 3
