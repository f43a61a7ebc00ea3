"""The ASGI middleware in front of Dagster's web server: cross-site checks, authentication, security headers."""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from resources.failure_classification import is_database_away
from sisu_pipeline.api.auth.authentication import RECHECK_S
from sisu_pipeline.api.auth.authorization_header import bearer_token
from sisu_pipeline.api.auth.host_guard import host_name
from sisu_pipeline.contracts.access import Role
from sisu_pipeline.dagster_web.permissions import OperationRefused, check_subscription, required_roles
from sisu_pipeline.dagster_web.request_rules import WebRequest, is_local, refusal
from sisu_pipeline.dagster_web.sign_in import (
    OPEN_PATHS,
    SIGN_IN,
    Authenticator,
    Caller,
    Credentials,
    sign_in_response,
)
from sisu_pipeline.store.access.sessions import secure_name

MOST_BODY_BYTES = 8 * 1024 * 1024
"""Bytes of a request's body, as at the API."""
_WITHOUT_BODY = frozenset({"GET", "HEAD"})
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True)
class Guard:
    """No request reaches `app` before it has passed the rules and its caller is known."""

    app: ASGIApp
    authenticator: Authenticator
    host_names: Collection[str]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its caller in `scope["state"]["caller"]`, or answer 401 or 403."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        answer = await self._admit(scope, receive)
        if scope["type"] == "websocket":
            if answer is None:
                await self._stream(scope, receive, send)
            else:
                await WebSocketClose(1008, "refused")(scope, receive, send)
            return
        if answer is None and scope["method"] not in _WITHOUT_BODY:
            body = await _read(receive)
            receive = _replay(body or b"", receive)
            if body is None:
                message = f"the body is larger than {MOST_BODY_BYTES} bytes"
                refused = {"error": message, "code": "body_too_large", "details": []}
                answer = JSONResponse(refused, 413, {"Connection": "close"})
        await (answer or self.app)(scope, receive, _with_headers(send))

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a WebSocket until it ends or its caller may not read any more."""
        served = asyncio.ensure_future(self.app(scope, receive, send))
        try:
            while not served.done():
                await asyncio.wait({served}, timeout=RECHECK_S)
                if not served.done() and not await self._may_still_read(scope):
                    break
        finally:
            if not served.done():
                served.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await served
                with suppress(Exception):
                    await send({"type": "websocket.close", "code": 1008})
        if not served.cancelled():
            served.result()

    async def _may_still_read(self, scope: Scope) -> bool:
        try:
            caller: Caller | None = scope["state"]["caller"]
            return await self._caller(_web_request(scope)) == caller
        except Exception as failure:
            if not is_database_away(failure):
                raise
            return True  # a stream outlives a restart of Postgres

    async def _caller(self, request: WebRequest) -> Caller | None:
        header = self.authenticator.sign_on.header
        session = _session(request, self.authenticator.cookie)
        signed = None if header is None else request.headers.get(header.name)
        has_other = session is not None or signed is not None
        given = Credentials(
            bearer=bearer_token(request.headers.get("authorization"), has_other=has_other),
            session=session,
            signed=signed,
            is_local=is_local(request),
        )
        return await asyncio.to_thread(self.authenticator.caller, given)

    async def _admit(self, scope: Scope, receive: Receive) -> Response | None:
        request = _web_request(scope)
        reason = refusal(request, self.host_names)
        if reason is not None:
            return JSONResponse({"error": reason, "code": "foreign_origin", "details": []}, 403)
        if request.path in OPEN_PATHS:
            return await sign_in_response(Request(scope, receive), self.authenticator)
        caller = await self._caller(request)
        scope.setdefault("state", {})["caller"] = caller
        if caller is not None:
            return None
        wants_page = request.method == "GET" and "text/html" in request.headers.get("accept", "")
        if wants_page and not request.is_websocket:
            return RedirectResponse(SIGN_IN, 303)
        return JSONResponse(
            {"error": "sign in, or send a token: Authorization: Bearer …", "code": "unauthorized", "details": []},
            401,
            {"WWW-Authenticate": "Bearer"},
        )


async def authorize(
    request: Request, query: str, operation_name: str | None, variables: dict[str, object] | None
) -> tuple[str | None, JSONResponse | None]:
    """The caller's name, and 403 when the operation is refused or needs a role that the caller lacks."""
    caller: Caller = request.state.caller
    try:
        lacking = required_roles(query, operation_name, variables) - caller.roles
    except OperationRefused as failure:
        return caller.name, _forbidden(str(failure))
    if not lacking:
        return caller.name, None
    return caller.name, _forbidden(
        f"this operation needs the role {', '.join(sorted(lacking))}; you have {_listed(caller.roles)}"
    )


def subscription_refusal(query: str, operation_name: str | None) -> str | None:
    """The reason to refuse a WebSocket message; None for a subscription."""
    try:
        check_subscription(query, operation_name)
    except OperationRefused as failure:
        return str(failure)
    return None


def _forbidden(message: str) -> JSONResponse:
    return JSONResponse({"data": None, "errors": [{"message": message}], "error": message}, 403)


def _web_request(scope: Scope) -> WebRequest:
    headers = Headers(scope=scope)
    client = scope.get("client")
    return WebRequest(
        scope.get("method", "GET"),
        scope["path"],
        scope.get("query_string", b"").decode("latin-1"),
        {name: headers[name] for name in headers},
        scope["type"] == "websocket",
        client[0] if client else None,
    )


async def _read(receive: Receive) -> bytes | None:
    """The body of a request; None as soon as it is too large. A client that leaves has sent an empty rest."""
    body = bytearray()
    while len(body) <= MOST_BODY_BYTES:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body) if len(body) <= MOST_BODY_BYTES else None
    return None


def _replay(body: bytes, receive: Receive) -> Receive:
    """Receive a body that was read already, then what follows it."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return pending.pop() if pending else await receive()

    return receive_again


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
        await send(message)

    return send_with_headers


def _session(request: WebRequest, name: str) -> tuple[str, str] | None:
    """The session id of the cookie and the host name it is used under."""
    try:
        cookies = SimpleCookie(request.headers.get("cookie", ""))
    except CookieError:
        return None
    morsel = cookies.get(secure_name(name)) or cookies.get(name)
    return None if morsel is None else (morsel.value, host_name(request.headers.get("host", "")))


def _listed(roles: Collection[Role]) -> str:
    return ", ".join(sorted(roles)) or "none"
