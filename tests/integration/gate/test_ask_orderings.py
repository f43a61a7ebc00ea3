"""The ask gate has one outcome in every order of answers, deadlines, cancellations and deaths of workers.

Hypothesis drives the real API and the real database through orderings of: the question is asked, answers that
fit and that do not, duplicates, conflicting ones, dedupe keys used twice, an early approval of the plan, the
deadline with its sensor up or down, a cancellation, a worker that dies as it begins.
"""

from dataclasses import replace
from typing import Any

import httpx
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from psycopg import sql

from sisu_pipeline import oracle
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.recovery import cancel_cleanup
from sisu_pipeline.steps.step_result import ASK_GATE
from sisu_pipeline.store import deadlines, runs
from sisu_pipeline.workflow import escalation, ownership
from tests.integration import machine
from tests.integration.api.conftest import Api
from tests.integration.gate.test_ask import ASK
from tests.integration.gate.world import Waiting
from tests.integration.life import FILES

PATCHED = {"a.txt": "after\n", "keep.txt": "keep\n", "new/b.txt": "new\n"}
PEOPLE = st.sampled_from(["ann", "bob"])
FITTING = st.sampled_from([{"environment": "staging"}, {"environment": "production", "replicas": 2}])
UNFITTING = st.sampled_from([{}, {"environment": "the moon"}, {"environment": "staging", "replicas": 0}])
NOBODYS_GATE = f"{ASK_GATE}-0000000000000000"


class Questions(RuleBasedStateMachine):
    """One run that asks, from queued to its end, in an order that no test states."""

    api: Api

    @initialize()
    def submit(self) -> None:
        self.life = Waiting(self.api.dependencies, constraints=ASK, start=False)
        self.is_overdue = self.is_canceled = self.is_approved = False
        self.first: dict[str, Any] | None = None
        self.accepted: set[bytes] = set()
        self.seen: dict[str, list[dict[str, Any]]] = {}
        self._look()

    @rule()
    def a_segment_runs(self) -> None:
        self.life.segment()

    @precondition(lambda self: not self.is_ended)
    @rule()
    def a_worker_dies_as_it_begins(self) -> None:
        ownership.enter(self.api.dependencies.database, self.life.id, self.life.owner)

    @rule(person=PEOPLE, content=FITTING)
    def answer(self, person: str, content: dict[str, Any]) -> None:
        expected = self._expected(content)
        answer = self._post(person, content)
        assert answer.status_code == expected, answer.text
        if expected == 202:
            self.accepted.add(answer.content)

    @precondition(lambda self: self.seen["human_gates"])
    @rule(person=PEOPLE, content=UNFITTING)
    def answer_out_of_form(self, person: str, content: dict[str, Any]) -> None:
        assert self._post(person, content).status_code == 400

    @precondition(lambda self: self.first and self.first["answer"] is not None)
    @rule(person=PEOPLE)
    def use_the_first_answers_key_for_something_else(self, person: str) -> None:
        (recorded,) = [row for row in self.seen["human_interactions"] if row["kind"] == "answer"]
        other = {"environment": "staging", "replicas": 9}
        assert self._post(person, other, recorded["dedupe_key"]).json()["code"] == "dedupe_conflict"

    @precondition(lambda self: not self.is_approved)
    @rule()
    def approve_the_plan_before_it_is_asked_about(self) -> None:
        ended = self.is_ended
        answer = self.api.post(f"/runs/{self.life.run_id}/approve-plan", {"approvedBy": "ann"})
        assert answer.status_code == (409 if ended else 202), answer.text
        self.is_approved = not ended

    @precondition(lambda self: self._asks() and not self.is_overdue and len(self.seen["human_gates"]) == 1)
    @rule()
    def the_deadline_passes(self) -> None:
        self.life.overdue()
        self.is_overdue = True

    @rule()
    def the_deadline_sensor_looks(self) -> None:
        escalation.enforce(self.api.dependencies)

    @rule()
    def cancel(self) -> None:
        was_ended = self.is_ended
        answer = self.api.post(f"/runs/{self.life.run_id}/cancel", {"actor": "ann"})
        assert answer.status_code == (202 if not was_ended or self.is_canceled else 409)
        self.is_canceled = self.is_canceled or not was_ended
        cancel_cleanup.clean_up_canceled(replace(self.api.dependencies, queues_tasks=False), lambda *_: None)

    @invariant()
    def the_laws_hold(self) -> None:
        if not hasattr(self, "life"):
            return
        self._look()
        self._the_first_answer_stands()
        self._what_was_answered_is_in_the_ledger_once()
        # The same answer has the same response, whoever sends it.
        assert len(self.accepted) <= 1
        if self.first is None or self.first["answer"] is None:
            assert self.life.files() == {}

    def _the_first_answer_stands(self) -> None:
        rows = self.seen["gate_answers"]
        assert len(rows) <= 1
        if self.first is not None:
            assert rows == [self.first]
        elif rows:
            self.first = rows[0]

    def _what_was_answered_is_in_the_ledger_once(self) -> None:
        recorded = [row["kind"] for row in self.seen["human_interactions"] if row["kind"] != "approve"]
        is_late = self.first is not None and self.first["answer"] is None
        assert recorded == ([] if self.first is None else ["timeout" if is_late else "answer"])

    def teardown(self) -> None:
        """Let it end; then one outcome, and every law holds."""
        if not hasattr(self, "life"):
            return
        for _ in range(2):
            self.life.segment()
        self._look()
        run, answers = self.life.run, self.seen["gate_answers"]
        if self.is_canceled:
            assert run.status is RunStatus.CANCELED
        elif not answers:
            assert (run.status, run.next_action) == (RunStatus.WAITING_INPUT, "ANSWER")
        elif answers[0]["answer"] is None:
            assert answers[0]["answered_by"] == deadlines.ACTOR
            assert (run.status, run.error) == (RunStatus.RETRIES_EXCEEDED, "Ask-user gate timed out")
        elif not self.is_approved:
            assert (run.status, run.next_action) == (RunStatus.WAITING_INPUT, "APPROVE_PLAN")
        else:
            assert run.status is RunStatus.SUCCEEDED
        self._check_what_came_of_it(run.status, answers)
        with self.api.dependencies.database.connect() as connection:
            broken = {verdict.law for verdict in oracle.judge(connection) if not verdict.holds}
        # These tests answer tasks themselves: the mock provider has no receipts of them.
        assert broken <= {"510_results_and_receipts_agree"}

    def _check_what_came_of_it(self, status: RunStatus, answers: list[dict[str, Any]]) -> None:
        outputs = {row["step_id"]: row["output"] for row in self.life.rows("run_steps")}
        if "ApplyPatchST" in outputs:
            assert outputs["ApplyPatchST"]["answer"] == answers[0]["answer"]
        if status is RunStatus.SUCCEEDED:
            assert self.life.files() == PATCHED
        elif status.is_terminal:
            assert self.life.files() in (FILES, {})

    def _look(self) -> None:
        """What the database says now: read once after every step, over one connection."""
        with self.api.dependencies.database.connect() as connection:
            for table in ("human_gates", "gate_answers", "human_interactions"):
                statement = sql.SQL("SELECT * FROM {} WHERE run_id = %s").format(sql.Identifier("app", table))
                self.seen[table] = connection.execute(statement, [self.life.run_id]).fetchall()
            self.is_ended = runs.get(connection, self.life.id).status.is_terminal

    def _asks(self) -> bool:
        return any(row["purpose"] == ASK_GATE for row in self.seen["human_gates"])

    def _expected(self, content: dict[str, Any]) -> int:
        if not self._asks():
            return 404
        if self.first is not None:
            return 202 if self.first["answer"] == content else 409
        return 409 if self.is_ended or self.is_overdue else 202

    def _post(self, person: str, content: dict[str, Any], dedupe_key: str | None = None) -> httpx.Response:
        keys = [row["gate_key"] for row in self.seen["human_gates"] if row["purpose"] == ASK_GATE]
        body = {"answeredBy": person, "answer": content} | ({"dedupeKey": dedupe_key} if dedupe_key else {})
        return self.api.post(f"/runs/{self.life.run_id}/gates/{(*keys, NOBODYS_GATE)[0]}/answer", body)


def test_every_ordering_at_a_question_ends_in_one_deterministic_audited_outcome(api: Api) -> None:
    machine.run(Questions, api=api, examples=15, steps=10)
