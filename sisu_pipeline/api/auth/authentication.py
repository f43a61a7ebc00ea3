"""Authentication: the first step of every request.

While no token exists, only requests from this machine are served, and each may do everything. Once a token has
been created or single sign-on is configured, every request needs a token in `Authorization: Bearer …`, the session
cookie of a signed-in browser, or the signed header of a proxy. A browser sends a cookie with requests of any page,
and a proxy adds its header to all, so a request that changes something must also name our origin.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from resources.write_batcher import Batcher
from sisu_pipeline.api.auth.authorization_header import bearer_token
from sisu_pipeline.api.auth.host_guard import host_name, is_foreign_host, is_foreign_page
from sisu_pipeline.api.auth.sign_in_offer import offer
from sisu_pipeline.api.http.error_responses import Refusal, answer, is_unreachable
from sisu_pipeline.api.state.app_state import AppState
from sisu_pipeline.api.state.connection_pool import Pool
from sisu_pipeline.contracts.access import Role
from sisu_pipeline.contracts.access_rules import Audience, Rule
from sisu_pipeline.single_sign_on.claim_rules import IdentityRefused
from sisu_pipeline.store.access import sessions, tokens
from sisu_pipeline.store.access.people import ProxiedPeople
from sisu_pipeline.store.access.tokens import Lookup

RECHECK_S = 3.0
"""Seconds between two looks at whether the caller of an open stream may still read it."""
MOST_STREAMS = 64
"""Open streams of one caller; one more is refused."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_STREAMS = ("/events", "/output")


@dataclass(frozen=True)
class Caller:
    """The authenticated caller. `name` is None while no token is required: every local caller has every role."""

    name: str | None
    roles: frozenset[Role]
    groups: frozenset[str] = frozenset()


LOCAL_CALLER = Caller(None, frozenset(Role))


class Authentication:
    """ASGI middleware: authenticates each request before its route. Only `open_paths` need no token."""

    def __init__(self, app: ASGIApp, state: AppState, open_paths: Iterable[str]) -> None:
        self._app = app
        self._tokens = token_lookups(state.pool)
        self._sessions = session_lookups(state.pool)
        self._cookie = state.session_cookie
        self._sign_on = state.sign_on
        self._proxied = ProxiedPeople(state.pool.connect)
        self._open = tuple(open_paths)
        self._streams = Counter[str | None]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its caller, or answer 401, 403 or 503."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            caller = await self._admit(request)
            scope.setdefault("state", {})["caller"] = caller
            if request.method == "GET" and scope["path"].endswith(_STREAMS):
                await self._stream(request, caller, receive, send)
                return
        except Exception as failure:
            response = offer(request, failure) or answer(request, failure)
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _stream(self, request: Request, caller: Caller | None, receive: Receive, send: Send) -> None:
        """Serve a stream until it ends or its caller may not read it any more. Raises Refusal 429 for too many."""
        name = None if caller is None else caller.name
        if self._streams[name] >= MOST_STREAMS:
            raise Refusal(429, "too_many_streams", f"{MOST_STREAMS} streams are open already: close one")
        self._streams[name] += 1
        served = asyncio.ensure_future(self._app(request.scope, receive, send))
        try:
            while not served.done():
                # All streams look at the same moments, so that they share a lookup.
                await asyncio.wait({served}, timeout=RECHECK_S - time.monotonic() % RECHECK_S)
                if not served.done() and not await self._may_still_read(request, caller):
                    break
        finally:
            self._streams[name] -= 1
            if not served.done():
                served.cancel()
                with suppress(asyncio.CancelledError):
                    await served
        if not served.cancelled():
            served.result()

    async def _may_still_read(self, request: Request, caller: Caller | None) -> bool:
        try:
            return await self._admit(request) == caller
        except Refusal:
            return False
        except Exception as failure:
            # A stream outlives a restart of Postgres.
            return is_unreachable(failure)

    async def _admit(self, request: Request) -> Caller | None:
        if is_foreign_page(request):
            raise _foreign()
        if _is_open(request.scope["path"], self._open):
            return None
        bearer = self._bearer(request)
        caller = await self._proxied_caller(request) if bearer is None else None
        if caller is None:
            caller = await self._known_caller(request, bearer)
        if caller is LOCAL_CALLER:
            return caller
        if bearer is None and request.method not in _SAFE and "origin" not in request.headers:
            raise Refusal(
                403, "foreign_origin", "a browser must send its Origin with a request that changes something"
            )
        return caller

    def _bearer(self, request: Request) -> str | None:
        header = self._sign_on.header
        is_signed = header is not None and header.name in request.headers
        has_other = is_signed or session_of(request, self._cookie) is not None
        return bearer_token(request.headers.get("authorization"), has_other=has_other)

    async def _proxied_caller(self, request: Request) -> Caller | None:
        """The person of the proxy's header; None without one. Raises Refusal 401 for a header that is not valid."""
        header = self._sign_on.header
        value = None if header is None else request.headers.get(header.name)
        if header is None or value is None:
            return None
        try:
            person = header.person(value, int(time.time()))
        except IdentityRefused as failure:
            raise unauthorized(str(failure)) from None
        await run_in_threadpool(self._proxied.record, person)
        return Caller(person.name, person.roles, person.groups)

    async def _known_caller(self, request: Request, bearer: str | None) -> Caller:
        """The owner of the token or the session. Raises Refusal 401, or 403 for a caller that is not local."""
        session = session_of(request, self._cookie)
        if bearer is None and session:
            found = await self._sessions.submit((session, host_name(request.headers.get("host", ""))))
        else:
            found = await self._tokens.submit(bearer)
        if found.owner is not None:
            return Caller(found.owner, found.roles, found.groups)
        if found.required or self._sign_on.is_required:
            raise unauthorized()
        if is_foreign_host(request):
            raise _foreign()
        return LOCAL_CALLER


def session_of(request: Request, cookie: str) -> str | None:
    """The session id that the browser sends, under https or not."""
    return request.cookies.get(sessions.secure_name(cookie)) or request.cookies.get(cookie)


def token_lookups(pool: Pool) -> Batcher[str | None, Lookup]:
    """Lookups of tokens, batched: requests that arrive during a lookup share the next one.

    Nothing is cached, so a revoked token is rejected by the next request.
    """

    def look_up(given: Sequence[str | None]) -> list[Lookup]:
        found = pool.glance(lambda connection: tokens.look_up_all(connection, list(dict.fromkeys(given))))
        return [found[token] for token in given]

    return Batcher(look_up)


def session_lookups(pool: Pool) -> Batcher[tuple[str, str], Lookup]:
    """The same for sessions, each with the host name it is used under."""

    def look_up(given: Sequence[tuple[str, str]]) -> list[Lookup]:
        found = pool.glance(lambda connection: sessions.look_up_all(connection, list(dict.fromkeys(given))))
        return [found[pair] for pair in given]

    return Batcher(look_up)


def check_rule(request: Request, rule: Rule) -> None:
    """Raises Refusal 403 unless the caller may do what the rule allows, 401 when the caller is not signed in."""
    if rule is Audience.ANYONE:
        return
    caller: Caller | None = request.state.caller
    if caller is None:
        raise unauthorized()
    if rule is Audience.SIGNED_IN or rule in caller.roles:
        return
    has = ", ".join(sorted(caller.roles))
    raise Refusal(403, "forbidden", f"this request needs the role {rule}; your token has {has}")


def unauthorized(reason: str = "a token is required: send Authorization: Bearer …") -> Refusal:
    """The 401 for a token that is missing, unknown or revoked; the three are not distinguished."""
    refusal = Refusal(401, "unauthorized", reason)
    refusal.headers = {"WWW-Authenticate": "Bearer"}
    return refusal


async def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


CallerOf = Annotated[Caller, Depends(_caller)]


def _foreign() -> Refusal:
    return Refusal(
        403, "foreign_origin", "requests are accepted from this machine and from pages of this server only"
    )


def _is_open(path: str, open_paths: tuple[str, ...]) -> bool:
    return any(path == place or (place.endswith("*") and path.startswith(place[:-1])) for place in open_paths)
