"""The way in for pages: a token becomes a cookie that no script reads and no other site's page sends."""

from fastapi import APIRouter, Request, Response

from sisu_pipeline.api.auth.authentication import COOKIE, CallerOf, is_open, unauthorized
from sisu_pipeline.api.auth.guarded_route import Door
from sisu_pipeline.api.http.error_responses import documented
from sisu_pipeline.api.http.json_response import reply
from sisu_pipeline.api.http.openapi import request_body
from sisu_pipeline.api.http.query_parameters import PlainRequest
from sisu_pipeline.api.http.request_body import RawBody, parse
from sisu_pipeline.api.schemas.run_schemas import Session
from sisu_pipeline.api.state.app_state import RoomsOf
from sisu_pipeline.contracts.access import SessionRequest
from sisu_pipeline.store import tokens

_MONTH_S = 30 * 24 * 3600

router = APIRouter(route_class=Door, dependencies=[PlainRequest], tags=["session"])


@router.get("/session", response_model=Session, responses=documented(400))
def show_session(caller: CallerOf, rooms: RoomsOf) -> Response:
    """Who you are to the API, and where Dagster's own pages are."""
    roles = sorted(caller.roles)
    return reply(
        Session(owner=caller.name, roles=roles, dagster_url=rooms.dagster_url, app_version=rooms.app_version)
    )


@router.post(
    "/session/cookie",
    status_code=204,
    response_class=Response,
    responses=documented(400, 413),
    openapi_extra=request_body(SessionRequest, required=True),
)
@is_open
def open_session(raw: RawBody, request: Request, rooms: RoomsOf) -> Response:
    """Keep a token as a cookie of this browser; where no token is needed, nothing is kept."""
    token = parse(raw, SessionRequest).token
    with rooms.pool.connect() as connection:
        found = tokens.look_up(connection, token)
    if found.required and found.owner is None:
        raise unauthorized()
    answer = Response(status_code=204)
    if found.required:
        secure = request.headers.get("origin", "").startswith("https:")
        answer.set_cookie(COOKIE, token, max_age=_MONTH_S, httponly=True, samesite="strict", secure=secure)
    return answer


@router.post("/session/close", status_code=204, response_class=Response, responses=documented(400))
@is_open
def close_session() -> Response:
    """Forget this browser's cookie. The token itself lives on: `sisu token revoke` ends it."""
    answer = Response(status_code=204)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer
