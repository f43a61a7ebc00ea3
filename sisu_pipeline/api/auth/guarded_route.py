"""A route of the API that checks the caller's role and turns every exception of its handler into a response."""

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from resources.failure_classification import is_conflict
from resources.retry import Backoff, retry_passing_async
from sisu_pipeline.api.auth.authentication import check_rule
from sisu_pipeline.api.http.error_responses import answer
from sisu_pipeline.contracts.access_rules import API_RULES, Audience

AFTER_CONFLICTS = Backoff(first_s=0.02, longest_s=0.5, retries=10, spread=True)
_PARAMETER = "{"


class GuardedRoute(APIRoute):
    """One route. The rule of its operation in `contracts/access_rules.py` states who may call it."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **{**options, "operation_id": endpoint.__name__})
        # Starlette ends its patterns with `$`, which also matches before a line break: `/healthz%0A`.
        self.path_regex = re.compile(self.path_regex.pattern.removesuffix("$") + r"\Z")
        rule = API_RULES.get(endpoint.__name__)
        if rule is None:
            raise TypeError(f"{path} has no access rule: add {endpoint.__name__} to contracts/access_rules.py")
        self.rule = rule

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """FastAPI's handler, after the check of the route's rule."""
        handler = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                check_rule(request, self.rule)
                return await _repeated(handler, request)
            except Exception as failure:
                return answer(request, failure)

        return guarded


async def _repeated(handler: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
    """The handler's response. A transaction that lost against another one is repeated: requests are idempotent."""
    return await retry_passing_async(lambda: handler(request), AFTER_CONFLICTS, is_conflict)


def open_paths(routes: Iterable[BaseRoute]) -> tuple[str, ...]:
    """The paths that anyone may call; one that ends with `*` stands for all paths with this beginning."""
    rules = {route.path: route.rule for route in routes if isinstance(route, GuardedRoute)}
    return tuple(_pattern(path) for path, rule in rules.items() if rule is Audience.ANYONE)


def _pattern(path: str) -> str:
    before, parameter, _ = path.partition(_PARAMETER)
    return f"{before}*" if parameter else path
