"""What people and jobs ask for: submit, start, decide. Shared by the API, the CLI and the Dagster jobs.

Each works in the caller's transaction and writes nothing when it raises.
"""

import re
from dataclasses import dataclass

from resources.database import Connection
from sisu_pipeline.contracts.gate import AnswerRequest, Decision, PlanApprovalRequest, PlanRejectionRequest
from sisu_pipeline.contracts.intent import Intent, RunRequest
from sisu_pipeline.contracts.operation import OperationRequest
from sisu_pipeline.domain import forms
from sisu_pipeline.domain.errors import DecisionConflict, NotFound
from sisu_pipeline.domain.identity import run_id_of
from sisu_pipeline.domain.policy import admit
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.steps import gate_terms
from sisu_pipeline.steps.gate_terms import ConstraintInvalid
from sisu_pipeline.store import answers, gates, intents, runs
from sisu_pipeline.store.answers import RecordedAnswer
from sisu_pipeline.store.gates import PlanDecision, RecordedDecision
from sisu_pipeline.store.intents import Kept
from sisu_pipeline.store.runs import Run

_GATE_KEY = re.compile(r"[a-z0-9][a-z0-9:_-]{0,127}")
_INTENT_ID = re.compile(r"ih_[0-9a-f]{64}")
_RUN_REFERENCE = re.compile(r"run_[0-9a-f]{32}|" + _INTENT_ID.pattern)


@dataclass(frozen=True)
class Started:
    """A started run; `is_replay` when it was started before."""

    run_id: str
    intent_id: str
    is_replay: bool


def submit_intent(connection: Connection, intent: Intent, submitter: str | None = None) -> Kept:
    """Keep an intent; the same content is the same intent. The first known submitter stays its submitter.

    Raises ConstraintInvalid when its constraints ask for a gate that cannot be (quirk N18).
    """
    _check_gates(intent)
    return intents.keep(connection, intent, submitter)


def start_run(
    connection: Connection, intent_id: str, request: RunRequest, app_version: str, submitter: str | None = None
) -> Started:
    """Start the run of an intent: policy first, then the intent, then the row that is the outbox (design §2.2).

    Raises PolicyViolation, NotFound, or IdentityDrift when the intent runs under another identity already.
    """
    admission = admit(request, intents.recipes(connection))
    if not _INTENT_ID.fullmatch(intent_id):
        raise NotFound("intent not found")
    intents.get(connection, intent_id)
    kept = runs.start(connection, intent_id, admission, app_version, submitter)
    return Started(kept.id, intent_id, kept.is_replay)


def decide(
    connection: Connection,
    run_reference: str,
    request: PlanApprovalRequest | PlanRejectionRequest,
    decider: str | None = None,
) -> RecordedDecision:
    """Approve or reject a run's plan. The first decision is final. Arguments as for `plan_decision`.

    Raises NotFound, DecisionConflict (another decision or plan, or a run that has ended), DedupeConflict,
    DecisionForbidden, or plan_edit.EditRefused.
    """
    return gates.decide(connection, plan_decision(run_reference, request, decider))


def plan_decision(
    run_reference: str, request: PlanApprovalRequest | PlanRejectionRequest, decider: str | None = None
) -> PlanDecision:
    """The decision that a request describes, for `gates.decide`.

    `decider` is the owner of the request's token; without one, the name in the request counts. Raises NotFound
    when no run can have this reference.
    """
    run_id = run_id_of(checked_reference(run_reference))
    if isinstance(request, PlanRejectionRequest):
        return PlanDecision(
            run_id,
            Decision.REJECTED,
            decider or request.rejected_by,
            notes=request.reason,
            plan_sha256=request.plan_sha256,
            dedupe_key=request.dedupe_key,
        )
    return PlanDecision(
        run_id,
        Decision.APPROVED,
        decider or request.approved_by,
        notes=request.notes,
        plan_sha256=request.plan_sha256,
        edited_plan=request.plan,
        dedupe_key=request.dedupe_key,
    )


def answer(
    connection: Connection, run_reference: str, gate_key: str, request: AnswerRequest, answerer: str | None = None
) -> RecordedAnswer:
    """Answer a run's question; the first answer that fits the form stands. `answerer` as `decider` in `decide`.

    Raises NotFound, AnswerInvalid, DedupeConflict or DecisionConflict.
    """
    if not _GATE_KEY.fullmatch(gate_key):
        raise NotFound("gate not found")
    person = answerer or request.answered_by
    return answers.answer(
        connection, checked_reference(run_reference), gate_key, request.answer, person, request.dedupe_key
    )


def cancel(
    connection: Connection, run_reference: str, request: OperationRequest, canceler: str | None = None
) -> Run:
    """End a run now; canceling a canceled run again is the same answer.

    `canceler` is who asks, when that is known (a token's owner); else the request is taken at its word.
    What runs is stopped and what was patched is taken back by whoever may touch it (`closing.close`).
    Raises NotFound, or IllegalTransition when the run has ended otherwise.
    """
    run = runs.lock(connection, checked_reference(run_reference))
    if run.status is RunStatus.CANCELED:
        return run
    error = f"canceled by {canceler or request.actor}" + (f": {request.reason}" if request.reason else "")
    return runs.move(connection, run, RunStatus.CANCELED, error=error, next_action="NONE")


def retry(connection: Connection, run_reference: str, request: OperationRequest) -> Run:
    """Try a failed run again from its first step without a good result, under a new Dagster run.

    Raises NotFound, IllegalTransition unless the run is `failed` or `retries_exceeded`, or
    DecisionConflict for a rejected plan: a person's no is not repaired by trying again.
    """
    run = runs.lock(connection, checked_reference(run_reference))
    decided = gates.decision(connection, run.id)
    if decided is not None and decided.decision is Decision.REJECTED:
        raise DecisionConflict(
            f"the plan was rejected by {decided.decided_by}: submit an intent that differs instead"
        )
    return runs.move(connection, run, RunStatus.REPAIRING, next_action="NONE", next_segment=True)


def _check_gates(intent: Intent) -> None:
    gate_terms.ttl(intent.constraints)
    gate_terms.on_timeout(intent.constraints)
    question = gate_terms.ask(intent.constraints)
    if question is None:
        return
    try:
        forms.check_form(question.form)
    except forms.FormInvalid as failure:
        raise ConstraintInvalid("/constraints", str(failure)) from None


def checked_reference(run_reference: str) -> str:
    """The run reference itself (`domain/identity.py`). Raises NotFound for a text no run can have as its id."""
    if not _RUN_REFERENCE.fullmatch(run_reference):
        raise NotFound("run not found")
    return run_reference
