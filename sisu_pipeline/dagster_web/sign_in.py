"""Sign-in at Dagster's port: the same tokens and sessions as the API's."""

import asyncio
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from resources.database import Database
from sisu_pipeline.api.auth.host_guard import host_name
from sisu_pipeline.api.auth.session_cookie import set_session
from sisu_pipeline.contracts.access import Person, Role
from sisu_pipeline.single_sign_on.browser_flow import BEGIN, CALLBACK, BrowserFlow
from sisu_pipeline.single_sign_on.claim_rules import IdentityRefused
from sisu_pipeline.single_sign_on.oidc_client import ProviderUnavailable
from sisu_pipeline.single_sign_on.sign_on import SignOn
from sisu_pipeline.single_sign_on.signed_header import SignedHeader
from sisu_pipeline.store.access import sessions, tokens
from sisu_pipeline.store.access.people import ProxiedPeople

SIGN_IN = "/sign-in"
_SCRIPT = "/sign-in/page.js"
_SESSION = "/sign-in/session"
OPEN_PATHS = frozenset({SIGN_IN, _SCRIPT, _SESSION, BEGIN, CALLBACK})
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
class Credentials:
    """What a request carries: a token, a session id with the host name it is used under, a proxy's signed header.

    `is_local`: this machine sent the request, under a name of its own.
    """

    bearer: str | None
    session: tuple[str, str] | None
    signed: str | None
    is_local: bool


@dataclass(frozen=True)
class Authenticator:
    """Knows callers by token, session or the header of a proxy. `cookie` is the name of the session's cookie."""

    database: Database
    cookie: str
    sign_on: SignOn
    flow: BrowserFlow | None
    proxied: ProxiedPeople

    def caller(self, given: Credentials) -> Caller | None:
        """Who sends a request; None when it has to authenticate first.

        While requests need not be authenticated, a local caller has every role and other callers have none.
        """
        if given.bearer is None and given.signed is not None and self.sign_on.header is not None:
            return self._proxied_caller(self.sign_on.header, given.signed)
        bearer, session = given.bearer, given.session
        with self.database.connect() as connection:
            if bearer is None and session is not None:
                found = sessions.look_up(connection, *session)
            else:
                found = tokens.look_up(connection, bearer)
        if found.owner is not None:
            return Caller(found.owner, found.roles)
        is_open = given.is_local and not (found.required or self.sign_on.is_required)
        return Caller(None, frozenset(Role)) if is_open else None

    def _proxied_caller(self, header: SignedHeader, value: str) -> Caller | None:
        try:
            person = header.person(value, int(time.time()))
        except IdentityRefused:
            return None
        self.proxied.record(person)
        return Caller(person.name, person.roles)

    def open_session_of(self, person: Person, host: str) -> str:
        """A new session id for a person whom the identity provider has signed in."""
        session_id = secrets.token_urlsafe(32)
        with self.database.connect() as connection:
            sessions.open_session_of(connection, session_id, person, host)
        return session_id

    def open_session(self, token: str, host: str) -> str | None:
        """A new session id for the owner of the token; None when the token is unknown or revoked."""
        session_id = secrets.token_urlsafe(32)
        with self.database.connect() as connection:
            return session_id if sessions.open_session(connection, session_id, token, host) else None


async def sign_in_response(request: Request, authenticator: Authenticator) -> Response:
    """The page, its script, a session for the token in the body `{"token": …}`, or the identity provider's part."""
    if request.url.path == _SESSION:
        return await _open(request, authenticator)
    if request.url.path in (BEGIN, CALLBACK):
        return await asyncio.to_thread(_provider_response, request, authenticator)
    if request.method != "GET":
        return _problem(405, "method_not_allowed", "only GET is allowed here")
    if request.url.path == _SCRIPT:
        return Response(_asset("sign_in.js"), media_type="text/javascript")
    headers = {"Content-Security-Policy": _PAGE_POLICY, "Cache-Control": "no-store"}
    page = _asset("sign_in.html")
    # Where no identity provider is configured, the link to it stays hidden.
    shown = page if authenticator.flow is None else page.replace(b' id="provider" hidden', b' id="provider"')
    return Response(shown, media_type="text/html", headers=headers)


def _provider_response(request: Request, authenticator: Authenticator) -> Response:
    flow = authenticator.flow
    if flow is None or request.method != "GET":
        return _problem(404, "not_found", "not found")
    try:
        if request.url.path == BEGIN:
            return flow.begin(request)
        person = flow.finish(request)
    except IdentityRefused as failure:
        return flow.refused(str(failure), 401)
    except ProviderUnavailable as failure:
        return flow.refused(str(failure), 502)
    session_id = authenticator.open_session_of(person, host_name(request.headers.get("host", "")))
    answer = flow.entered()
    set_session(answer, authenticator.cookie, session_id, secure=flow.is_secure)
    return answer


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
    set_session(answer, authenticator.cookie, session_id, secure=is_secure)
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
