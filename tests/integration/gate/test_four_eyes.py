"""Where two people who are no authors must approve, no task runs with fewer, whatever happens meanwhile.

Hypothesis drives the real store through orderings of approvals, edits, repeated submissions and starts, revoked and
new tokens, versions of the policy, passed deadlines and retries, under every kind of approvers, recipe and
constraints. A model of a few lines states whose approvals count. Most events are drawn for people to whom they
matter (who have voted, or whose approval counts): chance alone rarely brings a run to where a wrong count shows.
"""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from resources.postgres_pool import PooledDatabase
from sisu_pipeline import oracle
from sisu_pipeline.contracts.access import Role
from sisu_pipeline.contracts.gate import Decision, PlanApprovalRequest
from sisu_pipeline.contracts.operation import OperationRequest
from sisu_pipeline.contracts.step_outputs import Plan
from sisu_pipeline.domain.errors import ConstraintInvalid, DecisionConflict, DecisionForbidden
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store import gates, plans
from sisu_pipeline.store.access import tokens
from sisu_pipeline.workflow import commands, escalation, submission
from sisu_pipeline.workflow.dependencies import Dependencies
from tests.builders import a_request, an_intent, apply_policy, apply_recipe
from tests.integration import machine
from tests.integration.gate.world import Waiting
from tests.integration.life import FILES

Draw = Callable[..., Any]

PEOPLE = ("ann", "bob", "cem", "dan", "eve")
LEADS = ("ann", "bob", "cem")
PERSON = st.sampled_from(PEOPLE)
# Who may approve: everybody, these people, these people and the leads, the leads.
APPROVERS = st.sampled_from(
    [None, (list(PEOPLE), []), (["ann", "bob", "cem"], []), (["dan", "eve"], ["leads"]), ([], ["leads"])]
)
CONSTRAINTS = st.sampled_from(
    [
        {},
        {"planApprovals": 3},
        {"planApprovers": ["ann", "bob", "cem"]},
        {"planApprovers": ["ann", "bob", "cem"], "planApprovals": 2},
        {"planSelfApproval": False},
        {"testHooks": {"planApprovals": 2, "timeoutS": 60}},
    ]
)
WIDER = st.sampled_from(
    [
        {"planApprovals": 1},
        {"planSelfApproval": True},
        {"planApprovalOnTimeout": "approve"},
        {"testHooks": {"planApprovalOnTimeout": "approve", "timeoutS": 1}},
        {"planAutomaticApproval": True},
    ]
)

_numbers = itertools.count(1)


class FourEyes(RuleBasedStateMachine):
    """One run under a policy of two approvals without self-approval."""

    dependencies: Dependencies

    @initialize(approvers=APPROVERS, constraints=CONSTRAINTS, wider=WIDER, submitter=PERSON)
    def begin(self, approvers: Any, constraints: dict[str, Any], wider: dict[str, Any], submitter: str) -> None:
        self.number = next(_numbers)
        self.pinned = self.newest = approvers
        hooks = constraints.get("testHooks", constraints)
        self.required = hooks.get("planApprovals", 2)
        self.named = hooks.get("planApprovers")
        self.active: set[str] = set()
        self.submitters: set[str] = set()
        self.editors: set[str] = set()
        self.votes: set[str] = set()
        self.approved = False
        for person in PEOPLE:
            self._give_token(person)
        self._apply(approvals=2, selfApproval=False)
        with self.dependencies.database.connect() as connection:
            base = {"maxConcurrency": 1, "maxSteps": 9, "maxSandboxMinutes": 9}
            apply_recipe(connection, "compile-default", **base, policy=self._policy)
        self._widening_is_refused(wider, submitter)
        self.intent = self._intent(constraints)
        self.life = Waiting.__new__(Waiting)
        self.life.dependencies = self.dependencies
        self._submit(submitter)
        self.life.owner = f"dagster-{self.life.run_id}-0"

    @rule(data=st.data())
    def something_happens(self, data: st.DataObject) -> None:
        # One rule for all: of several, hypothesis leaves some out of most examples.
        person = data.draw(PERSON, label="person")
        data.draw(st.sampled_from(self._events()), label="event")(person, data.draw)

    def _events(self) -> list[Callable[[str, Draw], None]]:
        """What can happen, more often what brings a run to its end."""
        return [
            *([self.approve] * 3),
            *([self.approve_with_effect] * 5),
            *([self.edit] * 2),
            *([self.a_worker_works] * 4),
            *([self.revoke_a_voter] * 2),
            *([self.remove_a_voter] * 2),
            *([self.a_voter_submits] * 2),
            self.revoke,
            self.give_a_token,
            self.submit_again,
            self.apply_another_version,
            self.the_deadline_passes,
            self.retry,
        ]

    def approve_with_effect(self, person: str, draw: Draw) -> None:
        """A person approves whose approval is new and counts."""
        able = [each for each in PEOPLE if self._counts(each) and each not in self.votes]
        self.approve(draw(st.sampled_from(able), label="approver") if able else person, draw)

    def revoke_a_voter(self, person: str, draw: Draw) -> None:
        self.revoke(self._voter(person, draw), draw)

    def a_voter_submits(self, person: str, draw: Draw) -> None:
        self._submit(self._voter(person, draw))

    def remove_a_voter(self, person: str, draw: Draw) -> None:
        """A version of the policy in which a person who has voted is no approver any more."""
        removed = self._voter(person, draw)
        self.newest = ([each for each in PEOPLE if each != removed], [])
        self._apply(approvals=2, selfApproval=False)

    def _voter(self, person: str, draw: Draw) -> str:
        return draw(st.sampled_from(sorted(self.votes)), label="voter") if self.votes else person

    def submit_again(self, person: str, draw: Draw) -> None:
        self._submit(person)

    def a_worker_works(self, person: str, draw: Draw) -> None:
        self.life.owner = f"dagster-{self.life.run_id}-{self.life.run.retry_count}"
        self.life.segment()

    def approve(self, person: str, draw: Draw) -> None:
        plan = self._plan() if draw(st.booleans(), label="names the plan") else None
        self._decide(person, PlanApprovalRequest(approved_by=person, plan_sha256=plan))

    def edit(self, person: str, draw: Draw) -> None:
        if not self.life.rows("human_gates"):
            return
        with self.dependencies.database.connect() as connection:
            now = plans.current(connection, self.life.run_id)
        edited = Plan.from_json({**now.plan, "tests": [f"edit {next(_numbers)}"]})
        request = PlanApprovalRequest(approved_by=person, plan_sha256=now.sha256, plan=edited)
        self._decide(person, request)

    def revoke(self, person: str, draw: Draw) -> None:
        with self.dependencies.database.connect() as connection:
            for token in tokens.every(connection):
                if token.owner == self._name(person):
                    tokens.revoke(connection, token.id)
        self.active.discard(person)

    def give_a_token(self, person: str, draw: Draw) -> None:
        self._give_token(person)

    def apply_another_version(self, person: str, draw: Draw) -> None:
        self.newest = draw(APPROVERS, label="approvers")
        is_lax = draw(st.booleans(), label="lax")
        self._apply(approvals=1 if is_lax else 2, selfApproval=is_lax)

    def the_deadline_passes(self, person: str, draw: Draw) -> None:
        if self.life.rows("human_gates"):
            self.life.overdue()
            if draw(st.booleans(), label="an earlier release has let the deadline approve"):
                with self.dependencies.database.connect() as connection:
                    connection.execute("SET LOCAL session_replication_role = replica")
                    approve = "UPDATE app.human_gates SET on_timeout = 'approve' WHERE run_id = %s"
                    connection.execute(approve, [self.life.run_id])
        if draw(st.booleans(), label="the sensor looks"):
            escalation.enforce(self.dependencies)

    def retry(self, person: str, draw: Draw) -> None:
        if self.life.run.status is RunStatus.RETRIES_EXCEEDED:
            with self.dependencies.database.connect() as connection:
                commands.retry(connection, self.life.run_id, OperationRequest(actor="ops"))

    @invariant()
    def no_task_runs_without_the_approvals(self) -> None:
        decided = self.life.rows("plan_approvals")
        is_approved = any(decision["decision"] == "approved" for decision in decided)
        assert is_approved == self.approved
        if not self.approved:
            assert self.life.rows("sbx_runs") == []
            assert self.life.run.status is not RunStatus.SUCCEEDED

    def teardown(self) -> None:
        with self.dependencies.database.connect() as connection:
            broken = {law.law: law.rows for law in oracle.judge(connection) if not law.holds}
        # The results of these tests are not the mock provider's, which would leave receipts.
        broken.pop("510_results_and_receipts_agree", None)
        assert broken == {}

    def _decide(self, person: str, request: PlanApprovalRequest) -> None:
        """A person approves; the model and the store agree on what becomes of it."""
        was_decided = self._decision() is not None or self._is_overdue()
        is_open = bool(self.life.rows("human_gates"))
        try:
            with self.dependencies.database.connect() as connection:
                wanted = commands.plan_decision(self.life.run_id, request, self._name(person))
                recorded = gates.decide_batch(connection, [wanted])[0] or gates.decide(connection, wanted)
                gates.check_agrees(recorded, wanted)
        except DecisionForbidden:
            assert not was_decided
            assert not self._counts(person)
            return
        except DecisionConflict:
            # Decided already or too late, before the gate opened, or after the end.
            assert was_decided or not is_open or self.life.run.status.is_terminal
            return
        if was_decided:
            assert self.approved
            return
        assert is_open
        assert request.plan is not None or self._counts(person)
        if request.plan is not None:
            self.editors.add(person)
            self.votes = set()
        self.votes.add(person)
        counted = {voter for voter in self.votes if self._counts(voter)}
        assert recorded.is_final == (len(counted) >= self.required)
        self.approved = recorded.is_final
        if not self.approved:
            assert (recorded.given, recorded.required) == (len(counted), self.required)
            return
        assert len(counted) >= 2
        assert counted.isdisjoint(self.submitters | self.editors)
        (decided,), votes = self.life.rows("plan_approvals"), self.life.rows("approval_votes")
        assert set(decided["approvers"]) == {vote["person"] for vote in votes} == set(map(self._name, counted))

    def _counts(self, person: str) -> bool:
        """Whether the approval of a person counts now."""
        is_author = person in self.submitters or person in self.editors
        is_named = self.named is None or person in self.named
        both = [self.pinned] if self.pinned is None else [self.pinned, self.newest]
        return (
            person in self.active
            and is_named
            and not is_author
            and all(self._admits(each, person) for each in both)
        )

    def _admits(self, approvers: Any, person: str) -> bool:
        if approvers is None:
            return True
        people, groups = approvers
        return person in people or ("leads" in groups and person in LEADS and person in self.active)

    def _widening_is_refused(self, wider: dict[str, Any], person: str) -> None:
        with self.dependencies.database.connect() as connection:
            kept = submission.submit_intent(connection, self._intent(wider), self._name(person))
        with pytest.raises(ConstraintInvalid), self.dependencies.database.connect() as connection:
            submission.start_run(connection, kept.id, a_request(), "v1", self._name(person))

    def _submit(self, person: str) -> None:
        with self.dependencies.database.connect() as connection:
            kept = submission.submit_intent(connection, self.intent, self._name(person))
            started = submission.start_run(connection, kept.id, a_request(), "v1", self._name(person))
        self.life.id, self.life.run_id = kept.id, started.run_id
        self.submitters.add(person)

    def _apply(self, **rules: Any) -> None:
        if self.newest is not None:
            people, groups = self.newest
            rules["approvers"] = {"people": [self._name(each) for each in people], "groups": groups}
        with self.dependencies.database.connect() as connection:
            apply_policy(connection, self._policy, **rules)

    def _give_token(self, person: str) -> None:
        groups = ["leads"] if person in LEADS else []
        with self.dependencies.database.connect() as connection:
            text = f"sisu_{person}_{next(_numbers)}"
            tokens.create(connection, text, self._name(person), [Role.SUBMITTER, Role.APPROVER], groups)
        self.active.add(person)

    def _intent(self, constraints: dict[str, Any]) -> Any:
        inputs = {"files": FILES, "tests": ["t1"], "example": self.number}
        return an_intent("four eyes", inputs=inputs, constraints=self._with_names(constraints))

    def _with_names(self, constraints: dict[str, Any]) -> dict[str, Any]:
        named = constraints.get("planApprovers")
        names = {} if named is None else {"planApprovers": [self._name(each) for each in named]}
        return constraints | names

    def _name(self, person: str) -> str:
        return f"{person} {self.number}"

    @property
    def _policy(self) -> str:
        return f"two-{self.number}"

    def _plan(self) -> str | None:
        with self.dependencies.database.connect() as connection:
            return gates.plan_hash(connection, self.life.run_id)

    def _decision(self) -> Decision | None:
        with self.dependencies.database.connect() as connection:
            decided = gates.decision(connection, self.life.run_id)
        return None if decided is None else decided.decision

    def _is_overdue(self) -> bool:
        with self.dependencies.database.connect() as connection:
            over = "SELECT 1 FROM app.human_gates WHERE run_id = %s AND deadline_at <= clock_timestamp()"
            return connection.execute(over, [self.life.run_id]).fetchone() is not None


def _drive(dependencies: Dependencies, examples: int, steps: int) -> None:
    pooled = replace(dependencies, database=PooledDatabase(dependencies.database.url))
    machine.run(FourEyes, dependencies=pooled, examples=examples, steps=steps, phases=[Phase.generate])


def test_no_task_runs_without_two_people_who_are_no_authors(dependencies: Dependencies) -> None:
    _drive(dependencies, examples=30, steps=40)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_task_runs_without_two_people_who_are_no_authors_in_many_more_examples(
    dependencies: Dependencies,
) -> None:
    _drive(dependencies, examples=400, steps=50)
