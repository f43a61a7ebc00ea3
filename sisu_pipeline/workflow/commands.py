"""The commands of people and jobs about runs: decide, request changes, answer, assign, delegate, cancel, retry.

The API, CLI and jobs share them.

Each command works in the caller's transaction and writes nothing when it raises. `submitter`, `decider`,
`answerer` and `canceler` are the owner of the caller's token; without a token, the name in the request counts.
`channel` is how the caller's request came; it is recorded with what the request changes.
"""

import re

from resources.database import Connection
from sisu_pipeline.contracts.gate import (
    AnswerRequest,
    ChangesRequest,
    Channel,
    Decision,
    PlanApprovalRequest,
    PlanRejectionRequest,
)
from sisu_pipeline.contracts.operation import OperationRequest
from sisu_pipeline.contracts.person_name import checked_name
from sisu_pipeline.contracts.review_requests import AssignmentRequest, DelegationRequest
from sisu_pipeline.domain.errors import DecisionConflict, DelegationForbidden, NameRefused, NotFound, PeriodRefused
from sisu_pipeline.domain.identity import checked_reference, run_id_of
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store import answers, deadlines, gates, runs
from sisu_pipeline.store.answers import RecordedAnswer
from sisu_pipeline.store.change_requests import ChangeRequest
from sisu_pipeline.store.review import assignments
from sisu_pipeline.store.review.assignments import Assignment, Delegation, NewAssignment, NewDelegation
from sisu_pipeline.store.rules.decisions import PlanDecision, RecordedDecision
from sisu_pipeline.store.runs import Cause, Run
from sisu_pipeline.workflow.dependencies import Dependencies
from sisu_pipeline.workflow.planning import plan_rounds

_GATE_KEY = re.compile(r"[a-z0-9][a-z0-9:_-]{0,127}")


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
            checked_person(decider or request.rejected_by),
            notes=request.reason,
            plan_sha256=request.plan_sha256,
            dedupe_key=request.dedupe_key,
            channel=channel,
        )
    return PlanDecision(
        run_id,
        Decision.APPROVED,
        checked_person(decider or request.approved_by),
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
        checked_person(requester or request.requested_by),
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
    person = checked_person(answerer or request.answered_by)
    return answers.answer(
        connection, checked_reference(run_reference), gate_key, request.answer, person, request.dedupe_key, channel
    )


def assign(
    connection: Connection,
    run_reference: str,
    request: AssignmentRequest,
    assigner: str | None = None,
    channel: Channel = Channel.API,
) -> Assignment:
    """Ask people and groups to decide about a run. They get no right by it. Raises NotFound."""
    wanted = NewAssignment(
        run_id_of(checked_reference(run_reference)),
        request.people,
        request.groups,
        request.reason,
        checked_person(assigner or request.assigned_by),
        channel,
    )
    return assignments.assign(connection, wanted)


def delegate(
    connection: Connection,
    request: DelegationRequest,
    recorder: str | None = None,
    channel: Channel = Channel.API,
    *,
    may_act_for_others: bool = True,
) -> Delegation:
    """Name a substitute for a person who is away, or end that. The substitute gets no right by it.

    Raises DelegationForbidden when it is about another person and the recorder may not act for others,
    NameRefused for one's own substitute, and PeriodRefused for an absence that is over when it begins.
    """
    recorded_by = checked_person(recorder or request.recorded_by)
    person = request.person or recorded_by
    if person != recorded_by and not may_act_for_others:
        raise DelegationForbidden(person)
    wanted = NewDelegation(
        person, request.delegate, request.begins_at, request.ends_at, request.reason, recorded_by, channel
    )
    if wanted.delegate == person:
        raise NameRefused("a person cannot be their own substitute: name a colleague")
    stored = assignments.delegate(connection, wanted)
    if stored is None:
        raise PeriodRefused("the absence is over when it begins: endsAt must be in the future and after beginsAt")
    return stored


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
    cause = Cause(checked_person(canceler or request.actor), request.reason, channel)
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
    cause = Cause(checked_person(retrier or request.actor), request.reason, channel)
    deadlines.reopen(connection, run, cause.person, cause.reason)
    decided = gates.decision(connection, run.id)
    if decided is not None and decided.decision is Decision.REJECTED:
        raise DecisionConflict(f"the plan was rejected by {decided.decided_by}: submit a changed intent instead")
    retried = runs.move(connection, run, RunStatus.REPAIRING, next_action="NONE", next_segment=True, cause=cause)
    plan_rounds.ask_again(connection, retried)
    return retried


def checked_person(name: str) -> str:
    """The name of a person. Raises NameRefused: a token of an earlier release may have any owner."""
    try:
        return checked_name(name)
    except ValueError as refusal:
        raise NameRefused(str(refusal)) from None
