"""Sign-in of browsers with the identity provider, where one is configured."""

import secrets

from fastapi import APIRouter, Request, Response

from sisu_pipeline.api.auth.guarded_route import GuardedRoute
from sisu_pipeline.api.auth.host_guard import host_name
from sisu_pipeline.api.auth.session_cookie import set_session
from sisu_pipeline.api.http.error_responses import documented
from sisu_pipeline.api.http.json_response import reply
from sisu_pipeline.api.http.query_parameters import PlainRequest
from sisu_pipeline.api.schemas.deployment_schemas import SignIn
from sisu_pipeline.api.state.app_state import AppState, AppStateOf
from sisu_pipeline.domain.errors import NotFound
from sisu_pipeline.single_sign_on.browser_flow import BEGIN, CALLBACK, BrowserFlow
from sisu_pipeline.single_sign_on.claim_rules import IdentityRefused
from sisu_pipeline.single_sign_on.oidc_client import ProviderUnavailable
from sisu_pipeline.store.access import sessions

router = APIRouter(route_class=GuardedRoute, tags=["session"])


@router.get("/sign-in", response_model=SignIn, responses=documented(400), dependencies=[PlainRequest])
async def show_sign_in(state: AppStateOf) -> Response:
    """Where a browser signs in with the identity provider; null where only tokens are accepted."""
    return reply(SignIn(provider=None if state.browser_flow is None else BEGIN))


@router.get(BEGIN, include_in_schema=False, dependencies=[PlainRequest])
def begin_sign_in(request: Request, state: AppStateOf) -> Response:
    """Send the browser to the identity provider."""
    flow = _flow(state)
    try:
        return flow.begin(request)
    except ProviderUnavailable as failure:
        return flow.refused(str(failure), 502)


@router.get(CALLBACK, include_in_schema=False)
def finish_sign_in(request: Request, state: AppStateOf) -> Response:
    """Open a session for the person whom the identity provider has signed in."""
    flow = _flow(state)
    try:
        person = flow.finish(request)
    except IdentityRefused as failure:
        return flow.refused(str(failure), 401)
    except ProviderUnavailable as failure:
        return flow.refused(str(failure), 502)
    session_id = secrets.token_urlsafe(32)
    with state.pool.connect() as connection:
        sessions.open_session_of(connection, session_id, person, host_name(request.headers.get("host", "")))
    answer = flow.entered()
    set_session(answer, state.session_cookie, session_id, secure=flow.is_secure)
    return answer


def _flow(state: AppState) -> BrowserFlow:
    if state.browser_flow is None:
        raise NotFound("no identity provider is configured (SISU_OIDC_ISSUER)")
    return state.browser_flow
