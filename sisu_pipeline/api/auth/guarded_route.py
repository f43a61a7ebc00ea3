"""A route of the API that checks the caller's role and turns every exception of its handler into a response."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from sisu_pipeline.api.auth.authentication import check_role
from sisu_pipeline.api.http.error_responses import answer

_SAFE = frozenset({"GET", "HEAD"})


class GuardedRoute(APIRoute):
    """One route. A handler that changes something names the required role with `needs`; every caller may read."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **{**options, "operation_id": endpoint.__name__})
        # Starlette ends its patterns with `$`, which also matches before a line break: `/healthz%0A`.
        self.path_regex = re.compile(self.path_regex.pattern.removesuffix("$") + r"\Z")
        self.role = getattr(endpoint, "role", None)
        if self.role is None and not ((self.methods or set()) <= _SAFE or getattr(endpoint, "is_open", False)):
            raise TypeError(f"{path} changes something: name the required role with `needs`")

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """FastAPI's handler, after the check of the caller's role."""
        handler = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                check_role(request, self.role)
                return await handler(request)
            except Exception as failure:
                return answer(request, failure)

        return guarded
