"""The plan gate has one audited outcome in every order of decisions, deadlines, cancellations and worker deaths.

Hypothesis drives the real API and the real database through orderings of: the gate opens, an early decision, a
duplicate, a conflicting one, an edit, the deadline with its sensor up or down, a cancellation, a worker that dies
before or after what it wrote. After every step the laws below hold; at the end the oracle is clean.
"""

import copy
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

from sisu_pipeline import oracle
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.recovery import cancel_cleanup
from sisu_pipeline.store import deadlines
from sisu_pipeline.workflow import escalation, ownership
from tests.builders import apply_policy
from tests.integration import machine
from tests.integration.api.conftest import Api
from tests.integration.gate.world import Waiting
from tests.integration.life import FILES

PEOPLE = st.sampled_from(["ann", "bob"])
PATCHED = {"a.txt": "after\n", "keep.txt": "keep\n", "new/b.txt": "new\n"}
EDIT = [{"targetPath": "a.txt", "postimageContent": "edited\n", "diffText": "+edited\n"}]
EDITED = {"a.txt": "edited\n", "keep.txt": "keep\n"}


class Orderings(RuleBasedStateMachine):
    """One run, from queued to its end, in an order that no test states."""

    api: Api

    @initialize(outcome=st.sampled_from(["reject", "approve"]))
    def submit(self, outcome: str) -> None:
        with self.api.dependencies.database.connect() as connection:
            apply_policy(connection, deadlineMayApprove=True)
        self.life = Waiting(self.api.dependencies, constraints={"planApprovalOnTimeout": outcome}, start=False)
        self.on_timeout = {"reject": "rejected", "approve": "approved"}[outcome]
        self.is_overdue = self.is_canceled = False
        self.first: dict[str, Any] | None = None
        self.edited_to: str | None = None
        self.answers: dict[str, set[bytes]] = {"approved": set(), "rejected": set()}

    @rule()
    def a_segment_runs(self) -> None:
        self.life.segment()

    @precondition(lambda self: not self.life.run.status.is_terminal)
    @rule()
    def a_worker_dies_as_it_begins(self) -> None:
        ownership.enter(self.api.dependencies.database, self.life.id, self.life.owner)

    @rule(person=PEOPLE, bound=st.booleans())
    def approve(self, person: str, bound: bool) -> None:
        self._say("approved", {"approvedBy": person, **self._seen(bound)})

    @rule(person=PEOPLE, bound=st.booleans())
    def reject(self, person: str, bound: bool) -> None:
        self._say("rejected", {"rejectedBy": person, "reason": "no", **self._seen(bound)})

    @precondition(lambda self: self.life.rows("human_gates"))
    @rule(person=PEOPLE)
    def edit_then_approve(self, person: str) -> None:
        view = self.api.get(f"/runs/{self.life.run_id}/plan").json()
        plan = copy.deepcopy({name: value for name, value in view["plan"].items() if value is not None})
        plan |= {"patchPlan": EDIT, "tests": ["edited"]}
        was_open = self.first is None and not self.is_canceled and not self.is_overdue
        answer = self._post("approve-plan", {"approvedBy": person, "planSha256": view["planSha256"], "plan": plan})
        if was_open:
            assert answer.status_code == 202
            self.edited_to = self.api.get(f"/runs/{self.life.run_id}/plan").json()["planSha256"]
        elif self.edited_to is None:
            assert answer.status_code == 409

    @rule()
    def approve_another_plan(self) -> None:
        opened = bool(self.life.rows("human_gates"))
        answer = None
        if opened:
            answer = self._post("approve-plan", {"approvedBy": "eve", "planSha256": "0" * 64})
            assert answer.status_code == 409

    @precondition(lambda self: self.life.rows("human_gates") and not self.is_overdue)
    @rule()
    def the_deadline_passes(self) -> None:
        self.life.overdue()
        self.is_overdue = True

    @rule()
    def the_deadline_sensor_looks(self) -> None:
        escalation.enforce(self.api.dependencies)

    @rule()
    def cancel(self) -> None:
        was_ended = self.life.run.status.is_terminal
        answer = self.api.post(f"/runs/{self.life.run_id}/cancel", {"actor": "ann"})
        assert answer.status_code == (202 if not was_ended or self.is_canceled else 409)
        self.is_canceled = self.is_canceled or not was_ended
        cancel_cleanup.clean_up_canceled(replace(self.api.dependencies, queues_tasks=False), lambda *_: None)

    @invariant()
    def the_first_decision_stands(self) -> None:
        if not hasattr(self, "life"):
            return
        rows = self.life.rows("plan_approvals")
        assert len(rows) <= 1
        if self.first is not None and self.first["plan_sha256"] is None:
            # An early decision names its plan once the gate is open.
            bound = {name: rows[0][name] for name in ("plan_sha256", "record")}
            self.first |= bound
        if self.first is not None:
            # A decision before the gate opens gets its plan, and so its record, when the gate opens.
            bound = {name: rows[0][name] for name in ("plan_sha256", "record") if self.first[name] is None}
            assert rows == [self.first | bound]
        if rows:
            self.first = rows[0]

    @invariant()
    def everybody_with_the_same_word_got_the_same_answer(self) -> None:
        if hasattr(self, "life"):
            assert all(len(answers) <= 1 for answers in self.answers.values())
            assert not all(self.answers.values())

    @invariant()
    def every_decision_is_in_the_ledger_once(self) -> None:
        if hasattr(self, "life"):
            assert len(self.life.rows("human_interactions")) == len(self.life.rows("plan_approvals"))

    def teardown(self) -> None:
        """Let it end; then one outcome, and every law holds."""
        if not hasattr(self, "life"):
            return
        decided = self.life.rows("plan_approvals")
        for _ in range(2):
            self.life.segment()
        run = self.life.run
        if not run.status.is_terminal:
            assert run.status is RunStatus.WAITING_INPUT
            assert decided == []
        elif self.is_canceled:
            assert run.status is RunStatus.CANCELED
        else:
            word = decided[0]["decision"]
            assert run.status is (RunStatus.SUCCEEDED if word == "approved" else RunStatus.RETRIES_EXCEEDED)
            if decided[0]["decided_by"] == deadlines.ACTOR:
                assert word == self.on_timeout
        self._check_files(run.status)
        with self.api.dependencies.database.connect() as connection:
            broken = {verdict.law for verdict in oracle.judge(connection) if not verdict.holds}
        # These tests answer tasks themselves: the mock provider has no receipts of them.
        assert broken <= {"510_results_and_receipts_agree"}

    def _check_files(self, status: RunStatus) -> None:
        if status is RunStatus.SUCCEEDED:
            assert self.life.files() == (EDITED if self.edited_to else PATCHED)
        elif status.is_terminal:
            assert self.life.files() in (FILES, {})

    def _seen(self, bound: bool) -> dict[str, str]:
        if not bound or not self.life.rows("human_gates"):
            return {}
        return {"planSha256": self.life.plan_hash(self.api.client)}

    def _say(self, word: str, body: dict[str, str]) -> None:
        expected = self._expected(word)
        verb = {"approved": "approve-plan", "rejected": "reject-plan"}[word]
        answer = self._post(verb, body)
        assert answer.status_code == expected, answer.text
        if expected == 202:
            self.answers[word].add(answer.content)

    def _expected(self, word: str) -> int:
        if self.first is not None:
            return 202 if self.first["decision"] == word else 409
        if self.life.run.status.is_terminal:
            return 409
        if self.is_overdue:
            return 202 if self.on_timeout == word else 409
        return 202

    def _post(self, verb: str, body: dict[str, Any]) -> httpx.Response:
        return self.api.post(f"/runs/{self.life.run_id}/{verb}", body)


def test_every_ordering_ends_in_one_deterministic_audited_outcome(api: Api) -> None:
    machine.run(Orderings, api=api, examples=25, steps=12)
