"""Sign-in of browsers: a token is exchanged for a session cookie that scripts and other sites cannot use."""

import secrets

from fastapi import APIRouter, Request, Response

from sisu_pipeline.api.auth.authentication import CallerOf, session_of, unauthorized
from sisu_pipeline.api.auth.guarded_route import GuardedRoute
from sisu_pipeline.api.auth.host_guard import host_name
from sisu_pipeline.api.auth.session_cookie import set_session
from sisu_pipeline.api.http.error_responses import documented
from sisu_pipeline.api.http.json_response import reply
from sisu_pipeline.api.http.openapi import request_body
from sisu_pipeline.api.http.query_parameters import PlainRequest
from sisu_pipeline.api.http.request_body import SmallBody, parse
from sisu_pipeline.api.schemas.deployment_schemas import Session
from sisu_pipeline.api.state.app_state import AppStateOf
from sisu_pipeline.contracts.access import SessionRequest
from sisu_pipeline.store.access import sessions, tokens

router = APIRouter(route_class=GuardedRoute, dependencies=[PlainRequest], tags=["session"])


@router.get("/session", response_model=Session, responses=documented(400))
def show_session(caller: CallerOf, state: AppStateOf) -> Response:
    """The authenticated caller, and the address of Dagster's pages."""
    roles = sorted(caller.roles)
    return reply(
        Session(
            owner=caller.name,
            roles=roles,
            groups=sorted(caller.groups),
            dagster_url=state.dagster_url,
            app_version=state.app_version,
        )
    )


@router.post(
    "/session/cookie",
    status_code=204,
    response_class=Response,
    response_description="A session is open, or no token is required.",
    responses=documented(400, 413),
    openapi_extra=request_body(SessionRequest, required=True),
)
def open_session(raw: SmallBody, request: Request, state: AppStateOf) -> Response:
    """Open a session of this browser for the owner of a token; does nothing while no token is required."""
    token = parse(raw, SessionRequest).token
    session_id = secrets.token_urlsafe(32)
    with state.pool.connect() as connection:
        if not (state.sign_on.is_required or tokens.are_required(connection)):
            return Response(status_code=204)
        if not sessions.open_session(connection, session_id, token, host_name(request.headers.get("host", ""))):
            raise unauthorized()
    answer = Response(status_code=204)
    secure = request.headers.get("origin", "").startswith("https:")
    set_session(answer, state.session_cookie, session_id, secure=secure)
    return answer


@router.post(
    "/session/close",
    status_code=204,
    response_class=Response,
    response_description="The session has ended.",
    responses=documented(400),
)
def close_session(request: Request, state: AppStateOf) -> Response:
    """End this browser's session. The token itself stays valid until `sisu token revoke`."""
    session_id = session_of(request, state.session_cookie)
    if session_id:
        with state.pool.connect() as connection:
            sessions.close_session(connection, session_id)
    answer = Response(status_code=204)
    answer.delete_cookie(state.session_cookie, httponly=True, samesite="strict")
    answer.delete_cookie(sessions.secure_name(state.session_cookie), httponly=True, samesite="strict", secure=True)
    return answer
