"""Gates and decisions: one row per decision, bound to the plan it saw (design §2.4, §6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from resources.database import Connection, Row
from sisu_pipeline.contracts.gate import Decision
from sisu_pipeline.contracts.step_outputs import Plan, StepId
from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.domain.errors import DecisionConflict, DeterminismBreach
from sisu_pipeline.domain.plan_edit import check as check_edit
from sisu_pipeline.steps.step_result import ASK_GATE, PLAN_GATE, Gate, plan_gate_key
from sisu_pipeline.store import deadlines, interactions, plans, quorum, runs
from sisu_pipeline.store.interactions import Said
from sisu_pipeline.store.runs import Run
from sql import query


@dataclass(frozen=True)
class Decided:
    """A decision as it is stored; while `given` is less than `required`, an approval that others must join."""

    run_id: str
    decision: Decision
    decided_by: str
    decided_at: datetime
    notes: str | None
    plan_sha256: str | None
    given: int = 1
    required: int = 1

    @property
    def is_final(self) -> bool:
        """True when the run goes on with it."""
        return self.given >= self.required


@dataclass(frozen=True)
class Word:
    """What somebody decided about a run's plan, changing nothing of it; `plan_sha256` is the plan they read."""

    run_id: str
    decision: Decision
    decided_by: str
    notes: str | None
    plan_sha256: str | None
    dedupe_key: str | None


def open_gate(connection: Connection, run_id: str, gate: Gate) -> None:
    """Open a gate, once. Raises DeterminismBreach when it is open for another plan."""
    key = {"run_id": run_id, "gate_key": gate.key}
    inserted = connection.execute(
        query("gates.open"),
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
    ).fetchone()
    if inserted is not None:
        return
    row = connection.execute(query("gates.get"), key).fetchone()
    assert row is not None
    if row["plan_sha256"] != gate.plan_sha256:
        raise DeterminismBreach(f"gate {gate.key} of {run_id} is open for another plan")


def of_run(connection: Connection, run_id: str) -> list[Row]:
    """A run's gates, in the order they opened."""
    return connection.execute(query("gates.of_run"), {"run_id": run_id}).fetchall()


def plan_hash(connection: Connection, run_id: str) -> str | None:
    """The hash of the plan the run's plan gate asks about now; None before it opens."""
    compiled = [row["plan_sha256"] for row in of_run(connection, run_id) if row["purpose"] == PLAN_GATE]
    return (plans.edited_hash(connection, run_id) or str(compiled[0])) if compiled else None


def decision(connection: Connection, run_id: str) -> Decided | None:
    """The decision on the run's plan, if there is one."""
    row = connection.execute(query("gates.decision"), {"run_id": run_id}).fetchone()
    return None if row is None else _decided(row)


def is_passed(connection: Connection, run: Run) -> bool:
    """Whether the run may go on behind the gate it stands at: after CompileST the ask gate, later the plan gate."""
    if run.last_step == StepId.COMPILE:
        asked = [row for row in of_run(connection, run.id) if row["purpose"] == ASK_GATE]
        return all(
            connection.execute(query("gates.answer"), {"run_id": run.id, "gate_key": row["gate_key"]}).fetchone()
            for row in asked
        )
    return decision(connection, run.id) is not None


def decide_plainly(connection: Connection, words: Sequence[Word]) -> dict[Word, Decided]:
    """The usual decisions, in one statement, which may commit by itself: what `decide` would write and return.

    Of a run that is decided it is that decision, for `agree` to compare with the word. A word is missing, and
    nothing of it written, when there is anything to weigh, to refuse or to wait for: then `decide` does.
    """
    # Of several about one run only the first may win here; `decide` tells the others what it was.
    first = {word.run_id: word for word in reversed(words)}
    crash_point("gate.decide.before")
    rows = connection.execute(query("gates.decide_plainly"), {"words": Jsonb([*map(_columns, first.values())])})
    return {first[row["run_id"]]: _decided(row) for row in rows}


def agree(decided: Decided, wanted: Decision) -> None:
    """Raises DecisionConflict when another decision was made than the one that was wanted."""
    if decided.decision is not wanted:
        raise DecisionConflict(
            f"plan already {decided.decision} by {decided.decided_by}; the first decision stands"
        )


def decide(
    connection: Connection,
    run_reference: str,
    wanted: Decision,
    decided_by: str,
    notes: str | None,
    plan_sha256: str | None,
    *,
    edited: Plan | None = None,
    dedupe_key: str | None = None,
) -> Decided:
    """Record a decision; the first one wins, and everyone later with the same decision gets that one.

    `edited` is what the approver made of the plan they read. Raises NotFound, DecisionConflict (another
    decision, another plan, a run that has ended, a deadline that has passed with another outcome),
    DedupeConflict, DecisionForbidden, or plan_edit.EditRefused.
    """
    # The lock makes this and a suspension see each other, so that no wake-up is lost (design §2.5).
    run = runs.lock(connection, run_reference)
    said = _said(run.id, wanted, decided_by, notes, plan_sha256, edited, dedupe_key)
    now = _situation(connection, run, said)
    is_decided = now["decided"] is not None
    if not is_decided and now["is_over"]:
        is_decided = deadlines.enforce_locked(connection, run, said.gate_key)
    if is_decided:
        earlier = decision(connection, run.id)
        assert earlier is not None
        _check_same(connection, earlier, wanted, plan_sha256, edited)
        return earlier
    _check_open(run)
    current = now["edited_sha256"] or now["compiled_sha256"]
    _check_plan(plan_sha256, current)
    rules = quorum.of_row(now)
    rules.check(decided_by, wanted)
    if edited is not None:
        current = plan_sha256 = _change_plan(connection, run, edited, current, decided_by)
    if rules.required == 1 or wanted is Decision.REJECTED:
        interactions.append(connection, run.id, said, current)
        return _record(connection, run.id, wanted, decided_by, notes, plan_sha256)
    return _vote(connection, run, said, current, notes, rules.required)


def _situation(connection: Connection, run: Run, said: Said) -> Row:
    """The row of `gates.situation`. Raises DedupeConflict when the key was used for something else."""
    key = {"run_id": run.id, "gate_key": said.gate_key, "dedupe_key": said.key}
    row = connection.execute(query("gates.situation"), key).fetchone()
    assert row is not None, "a run has a recipe and an intent"
    if row["said_hash"] is not None:
        said.check_same(row["said_hash"], row["said_kind"])
    return row


def _vote(
    connection: Connection, run: Run, said: Said, current: str | None, notes: str | None, required: int
) -> Decided:
    """One approval of several: it counts for the plan as it is now, and the last one needed decides."""
    if current is None:
        raise DecisionConflict("the gate is not open yet: an approval of several is about a plan that can be read")
    key = (connection, run.id, said.gate_key, current)
    if said.actor not in [vote["actor"] for vote in interactions.voters(*key)]:
        interactions.append(connection, run.id, said, current)
    votes = interactions.voters(*key)
    if len(votes) >= required:
        everyone = ", ".join(vote["actor"] for vote in votes)
        return _record(connection, run.id, Decision.APPROVED, everyone, notes, current)
    own = next(vote for vote in votes if vote["actor"] == said.actor)
    return Decided(run.id, Decision.APPROVED, said.actor, own["created_at"], notes, current, len(votes), required)


def _record(
    connection: Connection, run_id: str, wanted: Decision, decided_by: str, notes: str | None, plan: str | None
) -> Decided:
    row = connection.execute(
        query("gates.decide"),
        {"run_id": run_id, "decision": wanted, "decided_by": decided_by, "notes": notes, "plan_sha256": plan},
    ).fetchone()
    assert row is not None, "the run's row is locked: nobody else can have decided"
    crash_point("gate.decide.before")
    return _decided(row)


def _change_plan(connection: Connection, run: Run, edited: Plan, current: str | None, editor: str) -> str:
    """Keep the changed plan; returns its hash. The caller has checked which plan it was made of."""
    if current is None:
        raise DecisionConflict("the gate is not open yet: there is no plan to change")
    before = plans.current(connection, run.id)
    check_edit(before.read(), edited, run.budget)
    if before.read() == edited:
        return before.sha256
    return plans.add(connection, run.id, edited, before.sha256, editor).sha256


def _said(
    run_id: str,
    wanted: Decision,
    person: str,
    notes: str | None,
    plan_sha256: str | None,
    edited: Plan | None,
    dedupe_key: str | None,
) -> Said:
    payload = {"decision": str(wanted), "notes": notes, "planSha256": plan_sha256}
    if edited is not None:
        payload["editedSha256"] = plans.hash_of(edited)
    kind = "approve" if wanted is Decision.APPROVED else "reject"
    return Said(plan_gate_key(run_id), kind, person, payload, dedupe_key)


def _columns(word: Word) -> Row:
    """The word as `gates.decide_plainly` reads it."""
    said = _said(word.run_id, word.decision, word.decided_by, word.notes, word.plan_sha256, None, word.dedupe_key)
    return {
        "run_id": word.run_id,
        "gate_key": said.gate_key,
        "decision": word.decision,
        "actor": word.decided_by,
        "notes": word.notes,
        "plan_sha256": word.plan_sha256,
        "dedupe_key": said.key,
        "has_own_key": word.dedupe_key is not None,
        "kind": said.kind,
        "payload": said.payload,
        "payload_hash": said.payload_hash,
    }


def _decided(row: Row) -> Decided:
    return Decided(
        row["run_id"],
        Decision(row["decision"]),
        row["decided_by"],
        row["decided_at"],
        row["notes"],
        row["plan_sha256"],
    )


def _check_same(
    connection: Connection, earlier: Decided, wanted: Decision, plan_sha256: str | None, edited: Plan | None
) -> None:
    agree(earlier, wanted)
    seen = plan_sha256 if edited is None else plans.hash_of(edited)
    _check_plan(seen, earlier.plan_sha256 or plan_hash(connection, earlier.run_id))


def _check_open(run: Run) -> None:
    if run.status.is_terminal:
        raise DecisionConflict(f"run is {run.status}; there is nothing left to decide")


def _check_plan(seen: str | None, current: str | None) -> None:
    if seen is not None and current is not None and seen != current:
        raise DecisionConflict(f"the plan has changed: you read {seen}, the gate asks about {current}")
