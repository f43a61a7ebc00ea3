"""The commands of people and jobs: submit, start, decide, request changes, answer, cancel, retry.

The API, CLI and jobs share them.

Each command works in the caller's transaction and writes nothing when it raises. `submitter`, `decider`,
`answerer` and `canceler` are the owner of the caller's token; without a token, the name in the request counts.
`channel` is how the caller's request came; it is recorded with what the request changes.
"""

import re
from dataclasses import dataclass

from resources.database import Connection
from sisu_pipeline.contracts.gate import (
    AnswerRequest,
    ChangesRequest,
    Channel,
    Decision,
    PlanApprovalRequest,
    PlanRejectionRequest,
)
from sisu_pipeline.contracts.intent import Intent, RunRequest
from sisu_pipeline.contracts.operation import OperationRequest
from sisu_pipeline.contracts.person_name import checked_name
from sisu_pipeline.domain import forms
from sisu_pipeline.domain.changes.declared_setup import setup_of
from sisu_pipeline.domain.changes.input_bounds import check_bounds
from sisu_pipeline.domain.changes.repository_base import check_files, repository_of
from sisu_pipeline.domain.errors import ConstraintInvalid, DecisionConflict, NameRefused, NotFound
from sisu_pipeline.domain.identity import run_id_of
from sisu_pipeline.domain.policy import PolicyVersion, PolicyViolation, Recipe, admit, check_submitter
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.steps import approval_terms, gate_terms
from sisu_pipeline.store import answers, deadlines, gates, intents, runs
from sisu_pipeline.store.access import people
from sisu_pipeline.store.answers import RecordedAnswer
from sisu_pipeline.store.change_requests import ChangeRequest
from sisu_pipeline.store.intents import Stored
from sisu_pipeline.store.rules import policies
from sisu_pipeline.store.rules.decisions import PlanDecision, RecordedDecision
from sisu_pipeline.store.runs import Cause, PinnedPolicy, Run
from sisu_pipeline.workflow import plan_rounds
from sisu_pipeline.workflow.dependencies import Dependencies

_GATE_KEY = re.compile(r"[a-z0-9][a-z0-9:_-]{0,127}")
_INTENT_ID = re.compile(r"ih_[0-9a-f]{64}")
_RUN_REFERENCE = re.compile(r"run_[0-9a-f]{32}|" + _INTENT_ID.pattern)


@dataclass(frozen=True)
class KeptValue:
    """A field of a repeated start request whose value the run does not take: it keeps the first one."""

    field: str
    requested: int | str
    kept: int | str | None


@dataclass(frozen=True)
class Started:
    """A started run; `is_replay` is True when it had been started before, and then `kept` is what differs."""

    run_id: str
    intent_id: str
    is_replay: bool
    kept: tuple[KeptValue, ...] = ()


def submit_intent(
    connection: Connection, intent: Intent, submitter: str | None = None, channel: Channel = Channel.API
) -> Stored:
    """Store an intent. The same content is the same intent, and its first known submitter remains its submitter.

    Raises InputInvalid for an invalid repository, an invalid setup, or a path that is too long or in a git folder,
    and ConstraintInvalid when the constraints describe a gate that cannot be opened.
    """
    _check_intent(intent)
    return intents.store(connection, intent, submitter and _person(submitter), channel)


def start_run(
    connection: Connection,
    intent_id: str,
    request: RunRequest,
    app_version: str,
    submitter: str | None = None,
    channel: Channel = Channel.API,
) -> Started:
    """Start the run of an intent: check the policy, then the intent, then insert the run, whose row is the outbox.

    The run keeps the newest version of its recipe's policy, as the intent's constraints tighten it. Raises
    PolicyViolation, NotFound, SubmissionForbidden, ConstraintInvalid when a constraint would widen the policy,
    IdentityDrift when the intent already runs under another identity, or StartRefused when its run was canceled.
    """
    run = runs.find(connection, intent_id) if _INTENT_ID.fullmatch(intent_id) else None
    admission = admit(request, _offered(intents.recipes(connection), request, run))
    if not _INTENT_ID.fullmatch(intent_id):
        raise NotFound("intent not found")
    intent = intents.get(connection, intent_id)
    _check_push(admission.recipe, intent)
    _check_network(intent, admission.recipe)
    version = policies.newest(connection, admission.recipe.policy_id).read()
    groups = frozenset() if submitter is None else people.get(connection, submitter).groups
    check_submitter(version, submitter and _person(submitter), groups)
    # A repetition keeps what the run was started with, whatever the policy is now.
    policy = _pinned(version, intent) if run is None else None
    started = runs.start(connection, intent_id, admission, app_version, submitter, policy, channel)
    kept = _kept(request, runs.get(connection, intent_id)) if started.is_replay else ()
    return Started(started.id, intent_id, started.is_replay, kept)


def _check_push(recipe: Recipe, intent: Intent) -> None:
    if recipe.push_remote is not None and repository_of(intent) is None:
        raise PolicyViolation(
            f"recipe {recipe.name}@{recipe.version} pushes a branch, and the intent has no repository: name one in "
            "inputs.repo, or choose another recipe"
        )


def _check_network(intent: Intent, recipe: Recipe) -> None:
    setup = setup_of(intent)
    if setup is not None and setup.network and recipe.net is False:
        raise PolicyViolation(
            f"recipe {recipe.name} forbids the network, and inputs.setup requests it: choose another recipe, or "
            "leave network out"
        )


def _kept(request: RunRequest, run: Run) -> tuple[KeptValue, ...]:
    """What a repetition asks for and does not get, of the fields that are no part of the run's identity."""
    fields: tuple[tuple[str, int | str | None, int | str | None], ...] = (
        ("priority", request.priority, run.priority),
        ("timeoutMS", request.timeout_ms, run.timeout_ms),
        ("deduplicationID", request.deduplication_id, run.deduplication_id),
        ("taskKey", request.task_key, run.task_key),
    )
    return tuple(
        KeptValue(name, requested, kept)
        for name, requested, kept in fields
        if requested is not None and requested != kept
    )


def _offered(recipes: list[Recipe], request: RunRequest, run: Run | None) -> list[Recipe]:
    """The recipe versions to choose from: a repetition without a version means the one that the run has."""
    if run is None or request.recipe_version is not None:
        return recipes
    started = next((recipe for recipe in recipes if recipe.id == run.recipe_id), None)
    return [recipe for recipe in recipes if started is None or recipe.name != started.name or recipe == started]


def _pinned(version: PolicyVersion, intent: Intent) -> PinnedPolicy:
    rules = approval_terms.tightened(version.policy.rules, version.name, intent.constraints)
    return PinnedPolicy(version, rules)


def decide(
    connection: Connection,
    run_reference: str,
    request: PlanApprovalRequest | PlanRejectionRequest,
    decider: str | None = None,
    channel: Channel = Channel.API,
) -> RecordedDecision:
    """Approve or reject a run's plan. The first decision is final; a later one that agrees returns it.

    Raises NotFound, DecisionConflict (another decision or plan, or a run that has ended), DedupeConflict,
    DecisionForbidden, plan_changes.ChangeInvalid, or plan_edit.EditRefused.
    """
    return gates.decide(connection, plan_decision(run_reference, request, decider, channel))


def plan_decision(
    run_reference: str,
    request: PlanApprovalRequest | PlanRejectionRequest,
    decider: str | None = None,
    channel: Channel = Channel.API,
) -> PlanDecision:
    """The decision that a request describes, for `gates.decide`.

    Raises NotFound when no run can have this reference.
    """
    run_id = run_id_of(checked_reference(run_reference))
    if isinstance(request, PlanRejectionRequest):
        return PlanDecision(
            run_id,
            Decision.REJECTED,
            _person(decider or request.rejected_by),
            notes=request.reason,
            plan_sha256=request.plan_sha256,
            dedupe_key=request.dedupe_key,
            channel=channel,
        )
    return PlanDecision(
        run_id,
        Decision.APPROVED,
        _person(decider or request.approved_by),
        notes=request.notes,
        plan_sha256=request.plan_sha256,
        edited_plan=request.plan,
        dedupe_key=request.dedupe_key,
        channel=channel,
    )


def request_changes(
    dependencies: Dependencies,
    connection: Connection,
    run_reference: str,
    request: ChangesRequest,
    requester: str | None = None,
    channel: Channel = Channel.API,
) -> ChangeRequest:
    """Request changes to a run's plan: a coding agent plans again, and the gate opens for its plan.

    Raises NotFound, DecisionConflict, DedupeConflict or DecisionForbidden.
    """
    wanted = plan_rounds.WantedChanges(
        run_id_of(checked_reference(run_reference)),
        _person(requester or request.requested_by),
        request.comment,
        request.plan_sha256,
        request.dedupe_key,
        channel,
    )
    return plan_rounds.request(dependencies, connection, wanted)


def answer(
    connection: Connection,
    run_reference: str,
    gate_key: str,
    request: AnswerRequest,
    answerer: str | None = None,
    channel: Channel = Channel.API,
) -> RecordedAnswer:
    """Answer a run's question. The first answer that fits the form is final.

    Raises NotFound, AnswerInvalid, DedupeConflict or DecisionConflict.
    """
    if not _GATE_KEY.fullmatch(gate_key):
        raise NotFound("gate not found")
    person = _person(answerer or request.answered_by)
    return answers.answer(
        connection, checked_reference(run_reference), gate_key, request.answer, person, request.dedupe_key, channel
    )


def cancel(
    connection: Connection,
    run_reference: str,
    request: OperationRequest,
    canceler: str | None = None,
    channel: Channel = Channel.API,
) -> Run:
    """Cancel a run. Canceling a canceled run returns it unchanged.

    This only ends the run's row. `recovery.cancel_cleanup.clean_up_canceled` rolls the patches back, once the
    running segment has stopped. Raises NotFound, or IllegalTransition when the run has ended otherwise.
    """
    run = runs.lock(connection, checked_reference(run_reference))
    if run.status is RunStatus.CANCELED:
        return run
    cause = Cause(_person(canceler or request.actor), request.reason, channel)
    error = f"canceled by {cause.person}" + (f": {request.reason}" if request.reason else "")
    return runs.move(connection, run, RunStatus.CANCELED, error=error, next_action="NONE", cause=cause)


def cancel_from_dagster(connection: Connection, run_reference: str, reason: str, person: str | None = None) -> Run:
    """Cancel a run because of what happened to its Dagster run. Without `person`, nobody is known to have asked.

    Raises what `cancel` raises.
    """
    request = OperationRequest(actor=person or "dagster", reason=reason)
    return cancel(connection, run_reference, request, channel=Channel.DAGSTER)


def retry(
    connection: Connection,
    run_reference: str,
    request: OperationRequest,
    retrier: str | None = None,
    channel: Channel = Channel.API,
) -> Run:
    """Execute a failed run again from its first step without a good result, in a new Dagster run.

    A gate whose deadline passed with a rejection or without an answer is opened again. Raises NotFound,
    IllegalTransition unless the run is `failed` or `retries_exceeded`, or DecisionConflict when a person rejected
    the plan: a retry cannot override that.
    """
    run = runs.lock(connection, checked_reference(run_reference))
    cause = Cause(_person(retrier or request.actor), request.reason, channel)
    deadlines.reopen(connection, run, cause.person, cause.reason)
    decided = gates.decision(connection, run.id)
    if decided is not None and decided.decision is Decision.REJECTED:
        raise DecisionConflict(f"the plan was rejected by {decided.decided_by}: submit a changed intent instead")
    retried = runs.move(connection, run, RunStatus.REPAIRING, next_action="NONE", next_segment=True, cause=cause)
    plan_rounds.ask_again(connection, retried)
    return retried


def _person(name: str) -> str:
    """The name of a person. Raises NameRefused: a token of an earlier release may have any owner."""
    try:
        return checked_name(name)
    except ValueError as refusal:
        raise NameRefused(str(refusal)) from None


def _check_intent(intent: Intent) -> None:
    repository_of(intent)
    check_files(intent)
    setup_of(intent)
    check_bounds(intent)
    approval_terms.check(intent.constraints)
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
