"""Assignments of runs to people and groups, and substitutes for people who are away."""

from fastapi import APIRouter, Response

from sisu_pipeline.api.auth.authentication import CallerOf
from sisu_pipeline.api.auth.guarded_route import GuardedRoute
from sisu_pipeline.api.http.error_responses import documented
from sisu_pipeline.api.http.json_response import reply
from sisu_pipeline.api.http.openapi import request_body
from sisu_pipeline.api.http.path_parameters import RunReference
from sisu_pipeline.api.http.query_parameters import PlainRequest
from sisu_pipeline.api.http.request_body import FormBody, parse
from sisu_pipeline.api.http.request_channel import ChannelOf
from sisu_pipeline.api.schemas.review_schemas import Assigned, Delegations, DelegationView
from sisu_pipeline.api.state.app_state import AppStateOf
from sisu_pipeline.contracts.access import Role
from sisu_pipeline.contracts.review_requests import AssignmentRequest, DelegationRequest
from sisu_pipeline.store.review import assignments
from sisu_pipeline.workflow import commands

router = APIRouter(route_class=GuardedRoute, dependencies=[PlainRequest], tags=["gates"])


@router.post(
    "/runs/{run_id}/assign",
    response_model=Assigned,
    responses=documented(400, 404, 413),
    openapi_extra=request_body(AssignmentRequest, required=True),
)
def assign_run(
    run_id: RunReference, raw: FormBody, caller: CallerOf, channel: ChannelOf, state: AppStateOf
) -> Response:
    """Ask people and groups to decide about a run. It gives them no right: the policy determines who may."""
    request = parse(raw, AssignmentRequest)
    with state.pool.connect() as connection:
        stored = commands.assign(connection, run_id, request, caller.name, channel)
    return reply(
        Assigned(
            run_id=stored.run_id,
            people=stored.people,
            groups=stored.groups,
            reason=stored.reason,
            assigned_by=stored.assigned_by,
            assigned_at=stored.assigned_at,
        )
    )


@router.get("/delegations", response_model=Delegations, responses=documented(400))
def list_delegations(state: AppStateOf) -> Response:
    """The substitutes, of now and later."""
    with state.pool.snapshot() as connection:
        found = assignments.delegations(connection)
    return reply(Delegations(delegations=[DelegationView(**vars(each)) for each in found]))


@router.post(
    "/delegations",
    response_model=DelegationView,
    responses=documented(400, 413),
    openapi_extra=request_body(DelegationRequest, required=True),
)
def record_delegation(raw: FormBody, caller: CallerOf, channel: ChannelOf, state: AppStateOf) -> Response:
    """Name a substitute for a person who is away, or end that with a null delegate.

    Gates that ask the person are then listed for the colleague too, who gets no right by it.
    """
    request = parse(raw, DelegationRequest)
    with state.pool.connect() as connection:
        stored = commands.delegate(
            connection, request, caller.name, channel, may_act_for_others=Role.OPERATOR in caller.roles
        )
    return reply(DelegationView(**vars(stored)))
