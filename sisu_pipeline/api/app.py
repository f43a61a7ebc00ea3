"""The FastAPI application."""

import re
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.routing import Match

from resources.write_batcher import Batcher
from sisu_pipeline.api.auth.authentication import Authentication
from sisu_pipeline.api.auth.guarded_route import open_paths
from sisu_pipeline.api.http import error_responses
from sisu_pipeline.api.http.head_requests import HeadRequests
from sisu_pipeline.api.http.openapi import DocumentedApp
from sisu_pipeline.api.http.security_headers import SecurityHeaders
from sisu_pipeline.api.routes import (
    artifact_routes,
    event_routes,
    gate_routes,
    intent_routes,
    operation_routes,
    operator_routes,
    page_routes,
    result_routes,
    rule_routes,
    run_routes,
    session_routes,
    sign_in_routes,
    task_routes,
)
from sisu_pipeline.api.routes.decision_batches import record_together
from sisu_pipeline.api.routes.review import (
    assignment_routes,
    decision_list_routes,
    history_routes,
    open_gate_routes,
)
from sisu_pipeline.api.state.app_state import AppState
from sisu_pipeline.api.state.change_feed import RunFeed
from sisu_pipeline.api.state.connection_pool import Pool
from sisu_pipeline.api.state.readiness import Readiness
from sisu_pipeline.api.streams.inbox_readings import read_together
from sisu_pipeline.domain.canonical import sha256_hex
from sisu_pipeline.settings import Settings
from sisu_pipeline.single_sign_on.browser_flow import browser_flow
from sisu_pipeline.single_sign_on.sign_on import sign_on
from sisu_pipeline.store.access.sessions import cookie_name
from sisu_pipeline.workflow.dependencies import Dependencies

HEARTBEAT_S = 15.0
_ASSETS = "/docs/assets"
_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_DOCS_POLICY = (
    "default-src 'none'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def create_app(dependencies: Dependencies, *, settings: Settings, heartbeat_s: float = HEARTBEAT_S) -> FastAPI:
    """The API over these dependencies; it connects when it starts, not when it is created."""
    pool = Pool(dependencies.database)
    signs_on = sign_on(settings)
    state = AppState(
        pool=pool,
        decisions=Batcher(partial(record_together, pool)),
        inbox=Batcher(partial(read_together, pool, dependencies.start_limit)),
        feed=RunFeed(dependencies.database),
        readiness=Readiness(pool),
        blobs=dependencies.blobs,
        dependencies=dependencies,
        app_version=dependencies.app_version,
        heartbeat_s=heartbeat_s,
        dagster_url=settings.dagster_url,
        session_cookie=cookie_name(settings.port),
        sign_on=signs_on,
        browser_flow=browser_flow(signs_on, settings.api_url, settings.port),
    )
    app = DocumentedApp(
        title="Sisu pipeline",
        version=settings.dbos__appversion,
        description="Durable agent intents: submit, start, decide, watch.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
    )
    app.state.shared = state
    # Only what no route raises reaches these: no route, no method, a failure of the framework itself.
    app.add_exception_handler(HTTPException, _answer)
    app.add_exception_handler(Exception, _answer)
    # Gates first: routes are tried in order, and a decision is what many people send at once.
    # Not `include_router`: it would wrap each GuardedRoute and match paths by its own pattern.
    for module in (
        gate_routes,
        open_gate_routes,
        decision_list_routes,
        assignment_routes,
        history_routes,
        page_routes,
        session_routes,
        sign_in_routes,
        intent_routes,
        operation_routes,
        event_routes,
        result_routes,
        task_routes,
        run_routes,
        artifact_routes,
        operator_routes,
        rule_routes,
    ):
        app.router.routes.extend(module.router.routes)
    app.add_middleware(Authentication, state=state, open_paths=open_paths(app.router.routes))
    app.add_middleware(SecurityHeaders)
    app.add_middleware(HeadRequests)
    _serve_docs(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    state: AppState = app.state.shared
    state.pool.open()
    state.feed.open()
    try:
        yield
    finally:
        await state.feed.stop()
        state.pool.close()


async def _answer(request: Request, failure: Exception) -> Response:
    if isinstance(failure, HTTPException) and failure.status_code == 405:
        # The framework names the methods of the first route with this path, not those of all.
        failure = HTTPException(405, headers={"Allow": ", ".join(_methods(request))})
    return error_responses.answer(request, failure)


def _methods(request: Request) -> set[str]:
    """The methods of all routes whose path matches the request's."""
    routes = [route for route in request.app.router.routes if isinstance(route, APIRoute)]
    return {
        method
        for route in routes
        if route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }


def _serve_docs(app: FastAPI) -> None:
    """Swagger UI from a package's files: FastAPI's own page would load it from the Internet.

    Its policy admits the one script that the page contains, by its hash, and what comes from this server.
    """
    app.mount(_ASSETS, StaticFiles(packages=[("fastapi_offline", "static")]), name="docs-assets")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        page = get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=app.title,
            swagger_js_url=f"{_ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{_ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{_ASSETS}/favicon.png",
            swagger_ui_parameters={"validatorUrl": None},
        )
        scripts = " ".join(map(_hash_source, _INLINE_SCRIPT.findall(bytes(page.body).decode())))
        page.headers["Content-Security-Policy"] = _DOCS_POLICY.format(scripts=scripts)
        return page


def _hash_source(script: str) -> str:
    """The source of a policy that admits exactly this script."""
    return f"'sha256-{b64encode(bytes.fromhex(sha256_hex(script))).decode()}'"
