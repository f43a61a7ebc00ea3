"""The rows of an intent agree with a simple model of it, whatever people do and wherever workers die.

Hypothesis drives the real store, two intents at a time, through orderings of: submit and start (again, and with
another partition key), decisions by several people, early, late, edited and bound to a plan, deadlines, workers
that go on and die between any two commits, task results of every kind that arrive twice, retries, cancellation.
After every event the rows agree with the model and none has vanished; at the end the oracle is clean.
"""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)

from resources.postgres_pool import PooledDatabase
from sisu_pipeline import oracle
from sisu_pipeline.contracts.gate import PlanApprovalRequest
from sisu_pipeline.contracts.operation import OperationRequest
from sisu_pipeline.contracts.step_outputs import Plan
from sisu_pipeline.recovery import cancel_cleanup
from sisu_pipeline.store import plans
from sisu_pipeline.workflow import commands, escalation, ownership, submission
from sisu_pipeline.workflow.dependencies import Dependencies
from sisu_pipeline.workflow.ownership import NotOwner
from tests.builders import a_request, an_intent, apply_policy
from tests.integration import machine
from tests.integration.intent_case import EDIT, Case
from tests.integration.intent_model import INFRASTRUCTURE, Model, Seen
from tests.integration.life import FILES, PATCHES

OUTCOMES = {"reject": "rejected", "approve": "approved"}
OUTCOME = st.sampled_from(sorted(OUTCOMES))
STARTED = st.sampled_from([True, True, True, False])
PEOPLE = st.sampled_from(["ann", "bob", "eve"])
WORDS = st.sampled_from([*(["approved"] * 5), "rejected"])
CODE = st.sampled_from(["NONE", "NONE", "NONE", "CMD_NONZERO", "CMD_NONZERO", INFRASTRUCTURE])
SEEN = [*([Seen.NONE] * 3), Seen.OTHER]
CODES = st.lists(CODE, min_size=2, max_size=2)

Draw = Callable[..., Any]

_tickets = itertools.count(1)


class IntentLife(RuleBasedStateMachine):
    """Two intents, from submission to their ends, in an order that no test states."""

    dependencies: Dependencies
    cases: Bundle[Case] = Bundle("cases")

    def __init__(self) -> None:
        super().__init__()
        self.all: list[Case] = []

    @initialize(target=cases, begins=st.lists(st.tuples(OUTCOME, STARTED), min_size=2, max_size=2))
    def submit(self, begins: list[tuple[str, bool]]) -> Any:
        with self.dependencies.database.connect() as connection:
            apply_policy(connection, deadlineMayApprove=True)
        for outcome, is_started in begins:
            inputs = {"files": FILES, "patches": PATCHES, "tests": ["t1", "t2"], "ticket": next(_tickets)}
            intent = an_intent("machine", inputs=inputs, constraints={"planApprovalOnTimeout": outcome})
            with self.dependencies.database.connect() as connection:
                kept = submission.submit_intent(connection, intent)
            assert not kept.is_replay
            case = Case(self.dependencies, intent, kept.id, Model(OUTCOMES[outcome], tasks=2))
            self.all.append(case)
            if is_started:
                self._start(case, "p")
        return multiple(*self.all)

    @rule(case=cases, data=st.data())
    def something_happens(self, case: Case, data: st.DataObject) -> None:
        # One rule for all: of several, hypothesis leaves some out of most examples, and an intent that nobody
        # starts, or no worker works on, has no life to look at.
        data.draw(st.sampled_from(self._events()), label="event")(case, data.draw)

    def _events(self) -> list[Callable[[Case, Draw], None]]:
        """What can happen, more often what takes an intent further."""
        return [
            self.submit_and_start,
            *([self.a_worker_works] * 4),
            *([self.somebody_decides] * 2),
            *([self.somebody_retries] * 2),
            self.the_deadline_passes,
            self.somebody_cancels,
            self.another_dagster_run_tries,
        ]

    def submit_and_start(self, case: Case, draw: Draw) -> None:
        with self.dependencies.database.connect() as connection:
            kept = submission.submit_intent(connection, case.intent)
        assert (kept.id, kept.is_replay) == (case.id, True)
        partition = draw(st.sampled_from(["p", "p", "p", "q"]), label="partition")
        self._start(case, partition)

    def a_worker_works(self, case: Case, draw: Draw) -> None:
        """It goes on for some commits; then it dies, before the last one or after it, or is just slow."""
        if not case.model.is_started:
            return
        moves = draw(st.sampled_from([1, 2, 3, 8, 8]), label="moves")
        dies = draw(st.sampled_from([None, None, "before", "after"]), label="dies")
        codes = draw(CODES, label="codes")
        for move in range(moves):
            case.go_on(codes, keeps=dies != "before" or move < moves - 1)
            if case.at is None:
                return
        if dies is not None:
            case.at = None

    def somebody_decides(self, case: Case, draw: Draw) -> None:
        person, word = draw(PEOPLE, label="person"), draw(WORDS, label="word")
        if case.model.is_open and word == "approved" and draw(st.booleans(), label="edits"):
            self._edit_and_approve(case, person)
            return
        seen = draw(
            st.sampled_from([*SEEN, Seen.CURRENT, Seen.CURRENT] if case.model.is_open else SEEN), label="seen"
        )
        request = case.request(word, person, seen)
        case.agree(
            lambda: case.model.decide(word, person, seen).by,
            lambda connection: commands.decide(connection, case.id, request).decided_by,
        )

    def the_deadline_passes(self, case: Case, draw: Draw) -> None:
        if case.model.is_open:
            with self.dependencies.database.connect() as connection:
                past = "UPDATE app.human_gates SET deadline_at = now() - interval '1 second' WHERE run_id = %s"
                connection.execute(past, [case.run_id])
            case.model.is_overdue = True
        if draw(st.booleans(), label="the sensor looks"):
            escalation.enforce(self.dependencies)
            for each in self.all:
                each.model.enforce_deadline()

    def somebody_retries(self, case: Case, draw: Draw) -> None:
        was = case.model.retries
        case.agree(case.model.retry, lambda connection: commands.retry(connection, case.id, OperationRequest()))
        if case.model.retries > was:
            case.at = None

    def somebody_cancels(self, case: Case, draw: Draw) -> None:
        if draw(st.sampled_from([False, False, True]), label="means it"):
            request = OperationRequest(actor="ops")
            case.agree(case.model.cancel, lambda connection: commands.cancel(connection, case.id, request))
        cancel_cleanup.clean_up_canceled(self.dependencies, lambda *_: None)

    def another_dagster_run_tries(self, case: Case, draw: Draw) -> None:
        if case.model.status == "running":
            with pytest.raises(NotOwner):
                ownership.enter(self.dependencies.database, case.id, "dagster-somebody-else")

    @invariant()
    def the_rows_are_the_models_and_none_vanishes(self) -> None:
        with self.dependencies.database.connect() as connection:
            for case in self.all:
                case.check_rows(connection)

    def teardown(self) -> None:
        """Let everything come to its end or its gate: then files are as they should be, and every law holds."""
        for case in self.all:
            if case.model.is_started:
                case.settle()
        cancel_cleanup.clean_up_canceled(self.dependencies, lambda *_: None)
        self.the_rows_are_the_models_and_none_vanishes()
        for case in self.all:
            case.check_files()
        with self.dependencies.database.connect() as connection:
            broken = [f"{law.law}: {law.rows}" for law in oracle.judge(connection) if not law.holds]
        assert broken == [], "\n".join(broken)

    def _start(self, case: Case, partition: str) -> None:
        request = a_request(queuePartitionKey=partition)
        case.agree(
            lambda: case.model.start(partition),
            lambda connection: submission.start_run(connection, case.id, request, "v1").is_replay,
        )

    def _edit_and_approve(self, case: Case, person: str) -> None:
        with self.dependencies.database.connect() as connection:
            now = plans.current(connection, case.run_id)
        edited = Plan.from_json({**now.plan, "patchPlan": EDIT, "tests": ["edited"]})
        request = PlanApprovalRequest(approved_by=person, plan_sha256=now.sha256, plan=edited)
        case.agree(
            lambda: case.model.edit(person).by,
            lambda connection: commands.decide(connection, case.id, request).decided_by,
        )


def _drive(dependencies: Dependencies, examples: int, steps: int) -> None:
    defaults = replace(dependencies.task_defaults, provider="local")
    database = PooledDatabase(dependencies.database.url)
    pooled = replace(dependencies, database=database, task_defaults=defaults)
    # A failure is told as it was found. To shorten it takes minutes, and misleads: rows that broke a law stay.
    machine.run(IntentLife, dependencies=pooled, examples=examples, steps=steps, phases=[Phase.generate])


def test_rows_agree_with_the_model_of_an_intents_life(dependencies: Dependencies) -> None:
    _drive(dependencies, examples=25, steps=50)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_rows_agree_with_the_model_of_an_intents_life_in_many_more_examples(dependencies: Dependencies) -> None:
    _drive(dependencies, examples=500, steps=60)
