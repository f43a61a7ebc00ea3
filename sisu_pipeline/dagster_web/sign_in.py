"""Sign-in at Dagster's port: the same tokens and sessions as the API's."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from resources.database import Database
from sisu_pipeline.contracts.access import Role
from sisu_pipeline.dagster_web.request_rules import host_name
from sisu_pipeline.store import sessions, tokens

SIGN_IN = "/sign-in"
_SCRIPT = "/sign-in/page.js"
_SESSION = "/sign-in/session"
OPEN_PATHS = frozenset({SIGN_IN, _SCRIPT, _SESSION})
"""Paths that are served without authentication."""

_LONGEST_BODY = 4096
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'"
)


@dataclass(frozen=True)
class Caller:
    """The authenticated person and their roles; no name where no token is required."""

    name: str | None
    roles: frozenset[Role]


@dataclass(frozen=True)
class Authenticator:
    """Knows callers by token or session. `cookie` is the name of the session's cookie."""

    database: Database
    cookie: str

    def caller(self, bearer: str | None, session: tuple[str, str] | None, is_local: bool) -> Caller | None:
        """Who sends a request; None when it has to authenticate first.

        `bearer` is the token of the header, `session` a session id with the host name it is used under. While no
        token was ever created, a local caller has every role and other callers have none.
        """
        with self.database.connect() as connection:
            if bearer is None and session is not None:
                found = sessions.look_up(connection, *session)
            else:
                found = tokens.look_up(connection, bearer)
        if not found.required:
            return Caller(None, frozenset(Role)) if is_local else None
        return None if found.owner is None else Caller(found.owner, found.roles)

    def open_session(self, token: str, host: str) -> str | None:
        """A new session id for the owner of the token; None when the token is unknown or revoked."""
        session_id = secrets.token_urlsafe(32)
        with self.database.connect() as connection:
            return session_id if sessions.open_session(connection, session_id, token, host) else None


async def sign_in_response(request: Request, authenticator: Authenticator) -> Response:
    """The page, its script, or a session for the token in the body `{"token": …}`."""
    if request.url.path == _SESSION:
        return await _open(request, authenticator)
    if request.method != "GET":
        return _problem(405, "method_not_allowed", "only GET is allowed here")
    if request.url.path == _SCRIPT:
        return Response(_asset("sign_in.js"), media_type="text/javascript")
    headers = {"Content-Security-Policy": _PAGE_POLICY, "Cache-Control": "no-store"}
    return Response(_asset("sign_in.html"), media_type="text/html", headers=headers)


async def _open(request: Request, authenticator: Authenticator) -> Response:
    if request.method != "POST" or "application/json" not in request.headers.get("content-type", ""):
        return _problem(400, "malformed", 'send the token with POST as JSON: {"token": …}')
    token = _token(await _body(request))
    if token is None:
        return _problem(400, "malformed", 'the body must be {"token": …}, at most 4 KiB')
    session_id = authenticator.open_session(token, host_name(request.headers.get("host", "")))
    if session_id is None:
        return _problem(401, "unauthorized", "the token is unknown or revoked")
    answer = Response(status_code=204)
    is_secure = request.headers.get("origin", "").startswith("https:")
    answer.set_cookie(
        sessions.secure_name(authenticator.cookie) if is_secure else authenticator.cookie,
        session_id,
        max_age=sessions.LIFE_S,
        httponly=True,
        samesite="strict",
        secure=is_secure,
    )
    return answer


async def _body(request: Request) -> bytes:
    read = b""
    async for chunk in request.stream():
        read += chunk
        if len(read) > _LONGEST_BODY:
            return b""
    return read


def _token(body: bytes) -> str | None:
    try:
        content: Any = json.loads(body)
    except ValueError:
        return None
    token = content.get("token") if isinstance(content, Mapping) else None
    return token if isinstance(token, str) and token else None


def _asset(name: str) -> bytes:
    return (resources.files("sisu_pipeline") / "dagster_web" / name).read_bytes()


def _problem(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": message, "code": code, "details": []}, status)
