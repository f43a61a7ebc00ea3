"""Jobs: the intent workflow, and the commands of the API for users of the Dagster UI and GraphQL."""

from typing import Any

import dagster as dg

from resources.database import Connection
from sisu_pipeline.contracts.access import Role
from sisu_pipeline.contracts.gate import (
    AnswerRequest,
    ChangesRequest,
    Channel,
    PlanApprovalRequest,
    PlanRejectionRequest,
)
from sisu_pipeline.contracts.intent import Intent, RunRequest
from sisu_pipeline.defs.asset_keys import INTENT_JOB
from sisu_pipeline.defs.assets import MATERIALIZED
from sisu_pipeline.defs.run_tags import PERSON_TAG
from sisu_pipeline.store import gates
from sisu_pipeline.store.access import people, tokens
from sisu_pipeline.workflow import commands, run_base, submission
from sisu_pipeline.workflow.dependencies import dependencies

intent_workflow = dg.define_asset_job(
    INTENT_JOB,
    selection=dg.AssetSelection.assets(*MATERIALIZED).without_checks(),
    description="One intent: CompileST, ApplyPatchST, the approval gate, DecideST, ExecuteST.",
)


# Not `dg.Config`, whose texts may name a variable of the environment (`{"env": …}`), which Dagster then reads.
_OBJECT = dg.Field(dict, is_required=False, default_value={})
_OPTIONAL_TEXT = dg.Field(dg.Noneable(str), is_required=False, default_value=None)
_RUN = {"recipeName": "sandbox-default", "queuePartitionKey": "default"}

SUBMISSION = {
    "goal": dg.Field(str, description="`goal` of `POST /intents`."),
    "inputs": _OBJECT,
    "constraints": _OBJECT,
    "connectors": dg.Field(dg.Noneable([str]), is_required=False, default_value=None),
    "run": dg.Field(dict, is_required=False, default_value=_RUN, description="Body of `POST /intents/{id}/run`."),
}
"""An intent and its run request, as `POST /intents` and `POST /intents/{id}/run` accept them."""

_RUN_ID = dg.Field(str, description="Run id or intent id.")

DECISION = {
    "run_id": _RUN_ID,
    "decided_by": str,
    "notes": dg.Field(str, is_required=False, default_value=""),
    "plan_sha256": _OPTIONAL_TEXT,
    "plan": dg.Field(
        dict,
        is_required=False,
        default_value={},
        description="Approvals: the plan as you edited it; empty to approve it unchanged.",
    ),
}
"""A decision on a run."""

CHANGES = {"run_id": _RUN_ID, "requested_by": str, "comment": str, "plan_sha256": _OPTIONAL_TEXT}
"""A request for changes to the plan of a run."""

ANSWER = {"run_id": _RUN_ID, "gate_key": str, "answered_by": str, "answer": dict}
"""An answer to the question of a run."""


@dg.op(name="submit_intent_op", out=dg.Out(str), config_schema=SUBMISSION)
def _submit(context: dg.OpExecutionContext) -> str:
    body = {name: value for name, value in context.op_config.items() if value is not None}
    request = RunRequest.from_json(body.pop("run"))
    intent = Intent.from_json(body)
    run_base.check_allowed(dependencies(), intent)
    with dependencies().database.connect() as connection:
        person = _person(connection, context, Role.SUBMITTER)
        stored = submission.submit_intent(connection, intent, person, Channel.DAGSTER)
    # Two transactions, as through the API: a start waits for every submission of its intent.
    with dependencies().database.connect() as connection:
        version = dependencies().app_version
        started = submission.start_run(connection, stored.id, request, version, person, Channel.DAGSTER)
    context.add_output_metadata({"intentId": stored.id, "runId": started.run_id, "isReplay": started.is_replay})
    context.log.info(f"intent {stored.id} is run {started.run_id}")
    return stored.id


@dg.op(name="approve_plan_op", config_schema=DECISION)
def _approve(context: dg.OpExecutionContext) -> None:
    config = context.op_config
    body: dict[str, Any] = {
        "approvedBy": config["decided_by"],
        "notes": config["notes"] or None,
        "planSha256": config["plan_sha256"],
    }
    if config["plan"]:
        body["plan"] = config["plan"]
    with dependencies().database.connect() as connection:
        person = _person(connection, context, Role.APPROVER)
        request = PlanApprovalRequest.from_json(body)
        decision = commands.plan_decision(config["run_id"], request, person, Channel.DAGSTER)
        decided = gates.decide(connection, run_base.with_base_files(dependencies(), decision))
    context.log.info(f"run {decided.run_id}: {decided.decision} by {decided.decided_by}")


@dg.op(name="reject_plan_op", config_schema=DECISION)
def _reject(context: dg.OpExecutionContext) -> None:
    config = context.op_config
    body = {"rejectedBy": config["decided_by"], "reason": config["notes"], "planSha256": config["plan_sha256"]}
    with dependencies().database.connect() as connection:
        person = _person(connection, context, Role.APPROVER)
        decided = commands.decide(
            connection, config["run_id"], PlanRejectionRequest.from_json(body), person, Channel.DAGSTER
        )
    context.log.info(f"run {decided.run_id}: {decided.decision} by {decided.decided_by}")


@dg.op(name="request_changes_op", config_schema=CHANGES)
def _request_changes(context: dg.OpExecutionContext) -> None:
    config = context.op_config
    body = {
        "requestedBy": config["requested_by"],
        "comment": config["comment"],
        "planSha256": config["plan_sha256"],
    }
    request = ChangesRequest.from_json(body)
    with dependencies().database.connect() as connection:
        person = _person(connection, context, Role.APPROVER)
        stored = commands.request_changes(
            dependencies(), connection, config["run_id"], request, person, Channel.DAGSTER
        )
    context.log.info(f"run {stored.run_id}: changes requested by {stored.requested_by}, round {stored.round}")


@dg.op(name="answer_gate_op", config_schema=ANSWER)
def _answer(context: dg.OpExecutionContext) -> None:
    config = context.op_config
    request = AnswerRequest.from_json({"answeredBy": config["answered_by"], "answer": config["answer"]})
    with dependencies().database.connect() as connection:
        person = _person(connection, context, Role.APPROVER)
        answered = commands.answer(
            connection, config["run_id"], config["gate_key"], request, person, Channel.DAGSTER
        )
    context.log.info(f"run {answered.run_id}: answered by {answered.answered_by}")


def _person(connection: Connection, context: dg.OpExecutionContext, role: Role) -> str | None:
    """The authenticated person who launched this job; None where no token is required.

    Raises dagster.Failure when the caller is not authenticated or no longer has the role.
    """
    if not tokens.are_required(connection):
        return None
    person = context.run.tags.get(PERSON_TAG)
    if person is None:
        raise dg.Failure("sign in, or send a token, before you launch this job", allow_retries=False)
    if role not in people.get(connection, person).roles:
        raise dg.Failure(f"{person} does not have the role {role} that this job needs", allow_retries=False)
    return person


@dg.job(description="Submit an intent and start its run. Submitting the same intent again is a replay.")
def submit_intent() -> None:
    _submit()


@dg.job(description="Approve a run's plan. The first decision is final.")
def approve_plan() -> None:
    _approve()


@dg.job(description="Reject a run's plan, with the reason in `notes`. The first decision is final.")
def reject_plan() -> None:
    _reject()


@dg.job(description="Request changes to a run's plan: a coding agent plans again, and the gate opens for its plan.")
def request_changes() -> None:
    _request_changes()


@dg.job(description="Answer a run's question. The first answer that fits its form is final.")
def answer_gate() -> None:
    _answer()


JOBS = (intent_workflow, submit_intent, approve_plan, reject_plan, request_changes, answer_gate)
