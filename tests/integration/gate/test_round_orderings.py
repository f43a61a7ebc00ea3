"""Requests for changes in every order with decisions, answers, failures, deadlines, cancellations and segments.

Hypothesis drives the real API and the real database. After every step the run has as many versions as answered
rounds, no more rounds than its recipe allows, and a gate that is open unless a round is planned; at the end the
oracle is clean.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from resources.database import Database
from sisu_pipeline import oracle
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.recovery import cancel_cleanup
from sisu_pipeline.workflow import escalation, ownership
from tests.integration import machine
from tests.integration.api.conftest import Api, Live, dependencies_over, serving
from tests.integration.gate.rounds import FAILURE, an_answer, request, settle
from tests.integration.gate.world import Waiting

ALLOWED = 3
PEOPLE = st.sampled_from(["ann", "bob"])
COMMENTS = st.sampled_from(["shorter", "longer"])


@pytest.fixture(scope="module")
def live(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """An API of a deployment whose plans a coding agent makes."""
    folder = tmp_path_factory.mktemp("rounds")
    with serving(replace(dependencies_over(database, folder), asks_agent=True)) as running:
        yield running


class Rounds(RuleBasedStateMachine):
    """One run, from queued to its end, in an order that no test states."""

    api: Api

    @initialize()
    def submit(self) -> None:
        self.life = Waiting(replace(self.api.dependencies, asks_agent=False), start=False)
        self.outcomes: list[str] = []
        self.last: tuple[str, str] | None = None
        self.decision: str | None = None
        self.is_overdue = False
        self.number = 0

    @property
    def is_planning(self) -> bool:
        """Whether the last round has not ended."""
        return bool(self.outcomes) and self.outcomes[-1] == "planning"

    @property
    def is_open(self) -> bool:
        """Whether the gate has opened."""
        return bool(self.life.rows("human_gates"))

    @rule()
    def a_segment_runs(self) -> None:
        self.life.segment()

    @precondition(lambda self: not self.life.run.status.is_terminal)
    @rule()
    def a_worker_dies_as_it_begins(self) -> None:
        ownership.enter(self.api.dependencies.database, self.life.id, self.life.owner)

    @rule(person=PEOPLE, comment=COMMENTS)
    def request_changes(self, person: str, comment: str) -> None:
        is_repeated = self.last == (person, comment) and self.outcomes[-1] != "failed"
        may = (
            self.is_open
            and self.decision is None
            and not self.is_overdue
            and not self.life.run.status.is_terminal
            and not self.is_planning
            and len(self.outcomes) < ALLOWED
        )
        answer = request(self.api.client, self.life, person, comment=comment)
        assert answer.status_code == (202 if is_repeated or may else 409), answer.text
        if not is_repeated and may:
            self.outcomes.append("planning")
            self.last = (person, comment)
        if is_repeated or may:
            assert answer.json()["round"] == len(self.outcomes) + 1

    @precondition(lambda self: self.is_planning)
    @rule(fails=st.booleans())
    def the_agent_answers(self, fails: bool) -> None:
        self.number += 1
        session = FAILURE if fails else an_answer(f"{self.number}\n")
        is_in_time = settle(self.api.dependencies, self.life, session)
        assert is_in_time == (not self.life.run.status.is_terminal)
        if is_in_time:
            self.outcomes[-1] = "failed" if fails else "planned"

    @rule(person=PEOPLE)
    def approve(self, person: str) -> None:
        self._decide("approved", "approve-plan", {"approvedBy": person})

    @rule(person=PEOPLE)
    def reject(self, person: str) -> None:
        self._decide("rejected", "reject-plan", {"rejectedBy": person, "reason": "no"})

    @precondition(lambda self: self.is_open and not self.is_planning and not self.is_overdue)
    @rule()
    def the_deadline_passes(self) -> None:
        self.life.overdue()
        self.is_overdue = True

    @rule()
    def the_deadline_sensor_looks(self) -> None:
        escalation.enforce(self.api.dependencies)
        self._read_decision()

    @rule()
    def cancel(self) -> None:
        self.api.post(f"/runs/{self.life.run_id}/cancel", {"actor": "ann"})
        cancel_cleanup.clean_up_canceled(replace(self.api.dependencies, queues_tasks=False), lambda *_: None)

    @invariant()
    def rounds_versions_and_the_gate_agree(self) -> None:
        if not hasattr(self, "life"):
            return
        rows = self.life.rows("plan_rounds")
        assert [row["outcome"] for row in sorted(rows, key=lambda row: row["round"])] == self.outcomes
        assert len(self.life.rows("plan_versions")) == self.outcomes.count("planned")
        if self.outcomes and self.decision is None and not self.life.run.status.is_terminal:
            (gate,) = self.api.get(f"/runs/{self.life.run_id}/gates").json()["gates"]
            assert gate["state"] == ("planning" if self.is_planning else "waiting")
            assert (gate["deadlineAt"] is None) == self.is_planning

    def teardown(self) -> None:
        """Let it end; then every law holds, and it waits only where nobody has decided."""
        if not hasattr(self, "life"):
            return
        for _ in range(2):
            self.life.segment()
        run = self.life.run
        if not run.status.is_terminal:
            assert (run.status, self.decision) == (RunStatus.WAITING_INPUT, None)
            assert run.next_action == ("PLAN" if self.is_planning else "APPROVE_PLAN")
        with self.api.dependencies.database.connect() as connection:
            broken = {verdict.law for verdict in oracle.judge(connection) if not verdict.holds}
        # These tests answer tasks themselves: the mock provider has no receipts of them.
        assert broken <= {"510_results_and_receipts_agree"}

    def _decide(self, word: str, verb: str, body: dict[str, str]) -> None:
        self._read_decision()
        if self.decision is not None:
            expected = 202 if self.decision == word else 409
        elif self.life.run.status.is_terminal or self.is_planning:
            expected = 409
        else:
            expected = 202 if not self.is_overdue or word == "rejected" else 409
        answer = self.api.post(f"/runs/{self.life.run_id}/{verb}", body)
        assert answer.status_code == expected, answer.text
        self._read_decision()

    def _read_decision(self) -> None:
        rows = self.life.rows("plan_approvals")
        assert self.decision is None or [row["decision"] for row in rows] == [self.decision]
        self.decision = rows[0]["decision"] if rows else None


@pytest.mark.slow
def test_every_ordering_of_rounds_keeps_the_gate_and_the_laws(api: Api) -> None:
    machine.run(Rounds, api=api, examples=20, steps=12)
