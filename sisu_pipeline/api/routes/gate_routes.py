"""Gates: read them, approve or reject a plan, request changes to it, answer a question."""

from fastapi import APIRouter, Response

from sisu_pipeline.api.auth.authentication import CallerOf
from sisu_pipeline.api.auth.guarded_route import GuardedRoute
from sisu_pipeline.api.http.error_responses import documented
from sisu_pipeline.api.http.json_response import reply
from sisu_pipeline.api.http.openapi import request_body
from sisu_pipeline.api.http.path_parameters import GateKey, RunReference
from sisu_pipeline.api.http.query_parameters import PlainRequest
from sisu_pipeline.api.http.request_body import FormBody, RawBody, parse, parse_aside
from sisu_pipeline.api.http.request_channel import ChannelOf
from sisu_pipeline.api.routes.decision_batches import decide
from sisu_pipeline.api.schemas.gate_schemas import GateEntry, Gates, History, Inbox, Interactions, PlanView
from sisu_pipeline.api.schemas.run_schemas import Answered, Approvals, Approved, ChangesRequested, Rejected
from sisu_pipeline.api.state.app_state import AppStateOf
from sisu_pipeline.api.views import gate_views
from sisu_pipeline.contracts.gate import AnswerRequest, ChangesRequest, PlanApprovalRequest, PlanRejectionRequest
from sisu_pipeline.workflow import commands

router = APIRouter(route_class=GuardedRoute, dependencies=[PlainRequest], tags=["gates"])


@router.post(
    "/runs/{run_id}/approve-plan",
    status_code=202,
    response_model=Approved,
    responses=documented(400, 404, 409, 413),
    openapi_extra=request_body(PlanApprovalRequest, required=True),
)
async def approve_plan(
    run_id: RunReference, raw: RawBody, caller: CallerOf, channel: ChannelOf, state: AppStateOf
) -> Response:
    """Approve the plan, before or after its gate opens. The first decision is final.

    Without `planSha256` the decision is about the plan that is open when it arrives; with another hash it is a 409.
    With `plan`, the edited plan is approved: it is validated against the contract and the run's budget, stored as
    a new version with the hash of the version it is based on, and executed.
    """
    request = await parse_aside(raw, PlanApprovalRequest)
    decided = await decide(state, run_id, request, caller, channel)
    approvals = None if decided.is_final else Approvals(given=decided.given, required=decided.required)
    return reply(Approved(run_id=decided.run_id, approved_at=decided.decided_at, approvals=approvals), 202)


@router.post(
    "/runs/{run_id}/reject-plan",
    status_code=202,
    response_model=Rejected,
    responses=documented(400, 404, 409, 413),
    openapi_extra=request_body(PlanRejectionRequest, required=True),
)
async def reject_plan(
    run_id: RunReference, raw: FormBody, caller: CallerOf, channel: ChannelOf, state: AppStateOf
) -> Response:
    """Reject the plan with a reason: its patches are rolled back and the run ends."""
    request = await parse_aside(raw, PlanRejectionRequest)
    decided = await decide(state, run_id, request, caller, channel)
    return reply(Rejected(run_id=decided.run_id, rejected_at=decided.decided_at), 202)


@router.post(
    "/runs/{run_id}/request-changes",
    status_code=202,
    response_model=ChangesRequested,
    responses=documented(400, 404, 409, 413),
    openapi_extra=request_body(ChangesRequest, required=True),
)
def request_changes(
    run_id: RunReference, raw: FormBody, caller: CallerOf, channel: ChannelOf, state: AppStateOf
) -> Response:
    """Request changes to the plan: a coding agent plans again, and the gate opens for its plan.

    Until then the gate has no deadline and accepts no decision. Approvals of the plan before do not count for the
    new one. The recipe bounds how often changes may be requested; without a coding agent the request is a 409.
    """
    request = parse(raw, ChangesRequest)
    with state.pool.connect() as connection:
        dependencies = state.dependencies
        stored = commands.request_changes(dependencies, connection, run_id, request, caller.name, channel)
    body = ChangesRequested(run_id=stored.run_id, round=stored.round, requested_at=stored.requested_at)
    return reply(body, 202)


@router.post(
    "/runs/{run_id}/gates/{gate_key}/answer",
    status_code=202,
    response_model=Answered,
    responses=documented(400, 404, 409, 413),
    openapi_extra=request_body(AnswerRequest, required=True),
)
def answer_gate(
    run_id: RunReference, gate_key: GateKey, raw: FormBody, caller: CallerOf, channel: ChannelOf, state: AppStateOf
) -> Response:
    """Answer a run's question. The first answer that fits its form is final."""
    request = parse(raw, AnswerRequest)
    with state.pool.connect() as connection:
        answered = commands.answer(connection, run_id, gate_key, request, caller.name, channel)
    body = Answered(run_id=answered.run_id, gate_key=answered.gate_key, answered_at=answered.answered_at)
    return reply(body, 202)


@router.get("/inbox", response_model=Inbox, responses=documented(400))
def show_inbox(state: AppStateOf) -> Response:
    """The open gates, the nearest deadline first (at most 200), and the newest runs."""
    with state.pool.snapshot() as connection:
        return reply(gate_views.inbox(connection, state.dependencies.start_limit))


@router.get("/runs/{run_id}/gates", response_model=Gates, responses=documented(400, 404))
def list_gates(run_id: RunReference, state: AppStateOf) -> Response:
    """A run's gates, in the order they opened."""
    with state.pool.snapshot() as connection:
        return reply(Gates(gates=gate_views.of_run(connection, run_id)))


@router.get("/runs/{run_id}/gates/{gate_key}", response_model=GateEntry, responses=documented(400, 404))
def show_gate(run_id: RunReference, gate_key: GateKey, state: AppStateOf) -> Response:
    """One gate of a run."""
    with state.pool.snapshot() as connection:
        return reply(gate_views.of_key(connection, run_id, gate_key))


@router.get("/runs/{run_id}/plan", response_model=PlanView, responses=documented(400, 404))
def show_plan(run_id: RunReference, state: AppStateOf) -> Response:
    """The current plan of a run, its patches with the files they change, and its earlier versions."""
    with state.pool.snapshot() as connection:
        return reply(gate_views.plan(connection, run_id))


@router.get("/runs/{run_id}/interactions", response_model=Interactions, responses=documented(400, 404))
def list_interactions(run_id: RunReference, state: AppStateOf) -> Response:
    """Decisions, votes and answers at a run's gates, in order."""
    with state.pool.snapshot() as connection:
        return reply(gate_views.interactions(connection, run_id))


@router.get("/runs/{run_id}/history", response_model=History, responses=documented(400, 404))
def show_history(run_id: RunReference, state: AppStateOf) -> Response:
    """Who did what to the run, when, why and by which channel, from its submission on."""
    with state.pool.snapshot() as connection:
        return reply(gate_views.history(connection, run_id))
