"""Dagster's web server with stricter routes: no operation in a URL, no form posts, no reports of asset events."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._cli.workspace.cli_target import workspace_opts_to_load_target
from dagster._core.workspace.context import BaseWorkspaceRequestContext, WorkspaceProcessContext
from dagster_shared.cli import WorkspaceOpts
from dagster_webserver.version import __version__
from dagster_webserver.webserver import DagsterWebserver
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.websockets import WebSocket

from sisu_pipeline.engine.run_identity import authenticated_person

# Dagster's pages label each request with the name of its operation.
_LABELS = {"op"}
_REPORTS = "/report_asset_"
_CSP = " img-src 'self' data:; frame-ancestors 'none'; form-action 'self';"

Admission = tuple[str | None, JSONResponse | None]
"""The authenticated person, and the response to send instead of executing the operation."""

Authorize = Callable[[Request, str, str | None, dict[str, Any] | None], Awaitable[Admission]]
"""Takes request, query, operation name and variables."""

CheckSubscription = Callable[[str, str | None], str | None]
"""Takes query and operation name of a WebSocket message; returns the reason to refuse it, if any."""


class GuardedWebserver(DagsterWebserver[WorkspaceProcessContext, BaseWorkspaceRequestContext]):
    """Dagster's web application, which asks `authorize` before it executes an operation."""

    def __init__(
        self, context: WorkspaceProcessContext, authorize: Authorize, check_subscription: CheckSubscription
    ) -> None:
        self._authorize = authorize
        self._check_subscription = check_subscription
        super().__init__(context, "", 2000)

    def build_routes(self) -> list[BaseRoute]:
        """Dagster's routes without those that report asset events: only the pipeline writes the lineage."""
        routes: list[BaseRoute] = super().build_routes()  # type: ignore[no-untyped-call]
        served = [route for route in routes if not (isinstance(route, Route) and route.path.startswith(_REPORTS))]
        refused = [
            Route(f"{_REPORTS}{kind}/{{asset_key:path}}", _refuse_report, methods=["GET", "POST"])
            for kind in ("materialization", "check", "observation")
        ]
        return [*refused, *served]

    def make_csp_header(self, nonce: str) -> str:
        """Dagster's policy, with images from this server only and no embedding in other pages."""
        return str(super().make_csp_header(nonce)) + _CSP

    async def graphql_http_endpoint(self, request: Request) -> Response:
        """Execute an operation that comes as the JSON body of a POST; GET serves the GraphiQL page only."""
        if request.method == "GET":
            if "query" in request.query_params or "text/html" not in request.headers.get("accept", ""):
                return _refused(405, "GraphQL operations are sent with POST and a JSON body")
        elif _media_type(request) != "application/json":
            return _refused(415, "GraphQL operations are sent with Content-Type: application/json")
        elif set(request.query_params) - _LABELS:
            return _refused(400, "a GraphQL request takes no parameters in its URL")
        elif not await _is_operation(request):
            message = (
                "a GraphQL request is a JSON object with query (a text), variables (an object) and operationName"
            )
            return _refused(400, message)
        response: Response = await super().graphql_http_endpoint(request)
        return response

    async def execute_graphql_request(
        self, request: Request, query: str, variables: dict[str, Any] | None, operation_name: str | None
    ) -> JSONResponse:
        """Execute the operation as the authenticated person, or answer why not."""
        person, refusal = await self._authorize(request, query, operation_name, variables)
        if refusal is not None:
            return refusal
        # The operation runs in a worker thread that inherits this context.
        token = authenticated_person.set(person)
        try:
            return await super().execute_graphql_request(request, query, variables, operation_name)
        finally:
            authenticated_person.reset(token)

    async def execute_graphql_subscription(
        self,
        websocket: WebSocket,
        operation_id: str,
        query: str,
        variables: dict[str, Any] | None,
        operation_name: str | None,
    ) -> Any:
        """Start a subscription; every other operation is an error message on the WebSocket."""
        reason = self._check_subscription(query, operation_name)
        if reason is not None:
            return None, {"message": reason}
        return await super().execute_graphql_subscription(websocket, operation_id, query, variables, operation_name)


@contextmanager
def workspace_context(workspace: Path) -> Iterator[WorkspaceProcessContext]:
    """The instance of DAGSTER_HOME and the code locations of a workspace file, for a long-running server."""
    with dg.DagsterInstance.get() as instance:
        instance.optimize_for_webserver(statement_timeout=15_000, pool_recycle=3600, max_overflow=20)
        target = workspace_opts_to_load_target(WorkspaceOpts(workspace=[str(workspace)]))
        with WorkspaceProcessContext(
            instance, version=__version__, read_only=False, workspace_load_target=target
        ) as context:
            yield context


async def _refuse_report(request: Request) -> Response:
    return _refused(403, "asset events are reported by the pipeline only")


async def _is_operation(request: Request) -> bool:
    """Whether the body has the form of an operation. Dagster's own code fails on others."""
    try:
        body = await request.json()
    except (ValueError, RecursionError):
        return False
    if not isinstance(body, dict) or not isinstance(body.get("query") or "", str):
        return False
    return isinstance(body.get("variables") or {}, dict) and isinstance(body.get("operationName") or "", str)


def _refused(status: int, message: str) -> JSONResponse:
    return JSONResponse({"data": None, "errors": [{"message": message}], "error": message}, status)


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
