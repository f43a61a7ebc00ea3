"""Gates and the decisions about plans: one row per decision, with the hash of the plan it is about."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from psycopg.types.json import Jsonb

from resources.database import Connection
from sisu_pipeline.contracts.access import Role
from sisu_pipeline.contracts.gate import Channel, Decision
from sisu_pipeline.contracts.step_outputs import Plan, StepId
from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.domain.approval.automatic import is_low_risk
from sisu_pipeline.domain.approval.eligibility import Standing
from sisu_pipeline.domain.canonical import sha256_json
from sisu_pipeline.domain.changes.plan_changes import PatchOutdated
from sisu_pipeline.domain.errors import DecisionConflict, DeterminismBreach
from sisu_pipeline.domain.plan_edit import EditRefused
from sisu_pipeline.domain.plan_edit import check as check_edit
from sisu_pipeline.steps.step_result import Gate, plan_gate_key
from sisu_pipeline.store import bases, deadlines, human_gates, interactions, plan_questions, plans, runs
from sisu_pipeline.store.access import people
from sisu_pipeline.store.interactions import NewInteraction
from sisu_pipeline.store.plans import Author
from sisu_pipeline.store.records import execute, fetch_all, fetch_first, fetch_one
from sisu_pipeline.store.rules import quorum
from sisu_pipeline.store.rules.decisions import PlanDecision, RecordedDecision
from sisu_pipeline.store.runs import Run


@dataclass(frozen=True)
class _Situation:
    """What a decision depends on: what is recorded about the run and under the dedupe key."""

    is_decided: bool
    is_over: bool
    is_planning: bool
    compiled_sha256: str | None
    edited_sha256: str | None
    recorded_hash: str | None
    recorded_kind: str | None


def open_gate(connection: Connection, run_id: str, gate: Gate) -> None:
    """Open a gate. Idempotent. Raises DeterminismBreach when it is open for another plan."""
    key = {"run_id": run_id, "gate_key": gate.key}
    inserted = execute(
        connection,
        "gates.open",
        {
            **key,
            "step_id": gate.step_id,
            "purpose": gate.purpose,
            "topic": f"human:{gate.key}",
            "plan_sha256": gate.plan_sha256,
            "ttl_s": gate.ttl_s,
            "on_timeout": gate.on_timeout,
            "form": None if gate.form is None else Jsonb(gate.form),
        },
    )
    if inserted:
        return
    stored = human_gates.find(connection, run_id, gate.key)
    if stored is None or stored.plan_sha256 != gate.plan_sha256:
        raise DeterminismBreach(f"gate {gate.key} of {run_id} is open for another plan")


def approve_automatically(connection: Connection, run: Run, gate: Gate) -> None:
    """Approve the plan at a gate that has just opened if the policy itself approves plans of so little risk."""
    rule = run.rules.automatic_approval
    if rule is None or decision(connection, run.id) is not None:
        return
    version = plans.current(connection, run.id)
    complete = plans.complete(connection, run.id, version.number)
    if complete is None or not is_low_risk(rule, version.read(), complete):
        return
    wanted = PlanDecision(
        run.id,
        Decision.APPROVED,
        f"policy:{run.policy_name}",
        notes="approved automatically: low risk by the rule of the policy",
        plan_sha256=gate.plan_sha256,
        channel=Channel.POLICY,
    )
    interactions.append(connection, run.id, _interaction(wanted), gate.plan_sha256)
    _record(connection, wanted)


def plan_hash(connection: Connection, run_id: str) -> str | None:
    """The hash of the plan that waits for approval now; None before the plan gate opens."""
    compiled = [gate.plan_sha256 for gate in human_gates.of_run(connection, run_id) if gate.is_plan_gate]
    return (plans.edited_hash(connection, run_id) or compiled[0]) if compiled else None


def decision(connection: Connection, run_id: str) -> RecordedDecision | None:
    """The decision on the run's plan, if there is one."""
    return fetch_first(connection, "gates.decision", RecordedDecision, {"run_id": run_id})


def is_passed(connection: Connection, run: Run) -> bool:
    """Whether the run may pass its current gate: the ask gate after CompileST, the plan gate later.

    Before CompileST it may be waiting for the plan of a coding agent.
    """
    if run.last_step is None and plan_questions.of_attempt(connection, run) is not None:
        return plan_questions.settled(connection, run) is not None
    if run.last_step == StepId.COMPILE:
        asked = [gate for gate in human_gates.of_run(connection, run.id) if gate.is_ask_gate]
        return all(human_gates.is_answered(connection, run.id, gate.gate_key) for gate in asked)
    return decision(connection, run.id) is not None


def decide_batch(connection: Connection, decisions: Sequence[PlanDecision]) -> list[RecordedDecision | None]:
    """Record the simple decisions among these in one statement, which may commit by itself.

    The result has one item per decision: what `decide` would return, or the earlier decision on the run, which
    `check_agrees` compares. None, and nothing is written, for a decision that `decide` must handle: one
    that changes the plan, follows stricter rules, comes too early or too late, is refused, or is about a
    run whose row is locked. Of several decisions about one run, the first one can be recorded here.
    """
    first = {decision.run_id: decision for decision in reversed(decisions) if decision.edited_plan is None}
    crash_point("gate.decide.before")
    columns = {"words": Jsonb([*map(_columns, first.values())])}
    rows = fetch_all(connection, "gates.decide_batch", RecordedDecision, columns)
    recorded = {row.run_id: row for row in rows}
    return [recorded.get(each.run_id) if first.get(each.run_id) == each else None for each in decisions]


def check_agrees(recorded: RecordedDecision, wanted: PlanDecision) -> None:
    """Raise DecisionConflict when the recorded decision is not the wanted one."""
    if recorded.decision is wanted.decision:
        return
    if recorded.decided_by == deadlines.ACTOR and recorded.decision is Decision.REJECTED:
        raise DecisionConflict(f"the deadline passed, so the plan was rejected: {deadlines.REMEDY}")
    raise DecisionConflict(
        f"plan already {recorded.decision} by {recorded.decided_by}: the first decision is final"
    )


def decide(connection: Connection, wanted: PlanDecision) -> RecordedDecision:
    """Record a decision. The first one is final; a later one that agrees with it returns it.

    Raises NotFound, DecisionConflict (another decision or plan, an ended run, a deadline that passed with
    another outcome), DedupeConflict, DecisionForbidden, plan_changes.ChangeInvalid, or plan_edit.EditRefused.
    """
    # A suspension locks the same row, so one of the two always sees the other and no wake-up is lost.
    run = runs.lock(connection, wanted.run_id)
    interaction = _interaction(wanted)
    now = _situation(connection, run, interaction)
    is_decided = now.is_decided
    if not is_decided and now.is_over:
        is_decided = deadlines.enforce_locked(connection, run, interaction.gate_key)
    if is_decided:
        earlier = decision(connection, run.id)
        assert earlier is not None
        _check_same(connection, earlier, wanted)
        return earlier
    _check_open(run)
    if now.is_planning:
        raise DecisionConflict(
            "changes to this plan were requested, and a coding agent is making them: decide about the new plan, or "
            "cancel the run"
        )
    current = now.edited_sha256 or now.compiled_sha256
    if now.recorded_hash is not None and wanted.edited_plan is not None and current is not None:
        return _count(connection, wanted, interaction, current)
    _check_plan(wanted.plan_sha256, current)
    person = people.get(connection, wanted.decided_by)
    standing = Standing(person.name, Role.APPROVER in person.roles, person.groups)
    quorum.check_person(connection, run.id, standing, is_approval=wanted.decision is Decision.APPROVED)
    if wanted.edited_plan is not None:
        current = _change_plan(connection, run, wanted.edited_plan, current, wanted)
    # Without a hash in the request, the decision is about the plan that is open at this moment.
    wanted = replace(wanted, plan_sha256=current or wanted.plan_sha256)
    if wanted.decision is Decision.REJECTED:
        interactions.append(connection, run.id, interaction, current)
        return _record(connection, wanted)
    if now.recorded_hash is not None and current is not None:
        interaction = interaction.for_plan(current)
    return _vote(connection, wanted, interaction, current, run.rules.approvals)


def _situation(connection: Connection, run: Run, interaction: NewInteraction) -> _Situation:
    """Read what a decision depends on. Raises DedupeConflict when its key was used for another request."""
    key = {"run_id": run.id, "gate_key": interaction.gate_key, "dedupe_key": interaction.key}
    situation = fetch_one(connection, "gates.situation", _Situation, key)
    if situation.recorded_hash is not None and situation.recorded_kind is not None:
        interaction.check_same(situation.recorded_hash, situation.recorded_kind)
    return situation


def _vote(
    connection: Connection, wanted: PlanDecision, interaction: NewInteraction, current: str | None, required: int
) -> RecordedDecision:
    """Record an approval of the plan as it is now. The last one needed makes the decision.

    The approval of a person who has just edited the plan does not count where authors may not approve.
    """
    if current is None and required > 1:
        raise DecisionConflict(
            "the gate is not open yet: where several approvals are required, each is for a plan that can be read"
        )
    own = None if current is None else interactions.vote(connection, wanted.run_id, interaction, current)
    if own is None:
        interactions.append(connection, wanted.run_id, interaction, current)
    if current is None:
        return _record(connection, wanted, [wanted.decided_by])
    return _count(connection, wanted, interaction, current)


def _count(
    connection: Connection, wanted: PlanDecision, interaction: NewInteraction, current: str
) -> RecordedDecision:
    """Count the approvals of the plan as it is now; enough of them make the decision."""
    tally = quorum.tally(connection, wanted.run_id)
    if tally.is_complete:
        together = replace(wanted, decided_by=", ".join(tally.people), plan_sha256=current)
        return _record(connection, together, tally.people)
    own = interactions.vote(connection, wanted.run_id, interaction, current)
    if own is None:
        raise DecisionConflict(f"dedupeKey {interaction.key} was used for an earlier version of the plan")
    who, when = wanted.decided_by, own.created_at
    vote = (wanted.run_id, wanted.decision, who, when, wanted.notes, current, wanted.channel)
    return RecordedDecision(*vote, given=tally.given, required=tally.required)


def _record(connection: Connection, wanted: PlanDecision, approvers: Sequence[str] = ()) -> RecordedDecision:
    # The run's row is locked, so no other decision can have been recorded meanwhile.
    recorded = fetch_one(
        connection,
        "gates.decide",
        RecordedDecision,
        {
            "run_id": wanted.run_id,
            "decision": wanted.decision,
            "decided_by": wanted.decided_by,
            "notes": wanted.notes,
            "plan_sha256": wanted.plan_sha256,
            "channel": wanted.channel,
            "approvers": list(approvers),
        },
    )
    crash_point("gate.decide.before")
    return recorded


def _change_plan(connection: Connection, run: Run, edited: Plan, current: str | None, wanted: PlanDecision) -> str:
    """Store the edited plan and return its hash. The caller has checked which plan it was made of."""
    if current is None:
        raise DecisionConflict("the gate is not open yet; wait for the plan before you edit it")
    before = plans.current(connection, run.id)
    compiled = before.read()
    try:
        edited, sealed = plans.edited(connection, run, edited, wanted.base_files)
    except PatchOutdated as failure:
        raise EditRefused(str(failure)) from None
    check_edit(compiled, edited, run.budget)
    if compiled == edited:
        return before.sha256
    bases.store_files(connection, run.id, wanted.base_files)
    author = Author(wanted.decided_by, wanted.channel)
    return plans.add(connection, run.id, edited, sealed, before.sha256, author).sha256


def _interaction(wanted: PlanDecision) -> NewInteraction:
    """The ledger's entry for a decision."""
    payload = {"decision": str(wanted.decision), "notes": wanted.notes, "planSha256": wanted.plan_sha256}
    if wanted.edited_plan is not None:
        payload["editedSha256"] = sha256_json(wanted.edited_plan.to_json())
    kind = "approve" if wanted.decision is Decision.APPROVED else "reject"
    key = plan_gate_key(wanted.run_id)
    return NewInteraction(key, kind, wanted.decided_by, payload, wanted.dedupe_key, wanted.channel)


def _columns(wanted: PlanDecision) -> dict[str, Any]:
    """A decision as the columns that `gates.decide_batch` reads."""
    interaction = _interaction(wanted)
    return {
        "run_id": wanted.run_id,
        "gate_key": interaction.gate_key,
        "decision": wanted.decision,
        "actor": wanted.decided_by,
        "notes": wanted.notes,
        "plan_sha256": wanted.plan_sha256,
        "dedupe_key": interaction.key,
        "has_own_key": wanted.dedupe_key is not None,
        "kind": interaction.kind,
        "payload": interaction.payload,
        "payload_hash": interaction.payload_hash,
        "channel": wanted.channel,
    }


def _check_same(connection: Connection, earlier: RecordedDecision, wanted: PlanDecision) -> None:
    check_agrees(earlier, wanted)
    seen = wanted.plan_sha256
    if wanted.edited_plan is not None:
        run = runs.get(connection, wanted.run_id)
        seen = plans.edited_hash_of(connection, run, wanted.edited_plan, wanted.base_files)
    _check_plan(seen, earlier.plan_sha256 or plan_hash(connection, earlier.run_id))


def _check_open(run: Run) -> None:
    if run.status.is_terminal:
        raise DecisionConflict(f"the run is {run.status}: its plan can no longer be approved or rejected")


def _check_plan(seen: str | None, current: str | None) -> None:
    if seen is not None and current is not None and seen != current:
        raise DecisionConflict(f"the plan has changed: the request names {seen}, but {current} waits for approval")
