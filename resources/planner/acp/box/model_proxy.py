"""The model's proxy: forwards model calls to one provider, adds the key, counts tokens, keeps to the budget.

It serves a Unix socket that is mounted into the agent's sandbox, which has no other way to a model and no key.
"""

import asyncio
import contextlib
import json
import re
import socket
from collections.abc import AsyncIterator, Iterator

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from resources.planner.acp.agent_settings import Dialect, ModelSettings, PlanLimits
from resources.planner.acp.box.model_usage import AnswerReader, Usage, exceeded

_TIMEOUT = httpx.Timeout(600, connect=15)
_LARGEST_REQUEST = 32 * 1024 * 1024
_PATHS: dict[Dialect, re.Pattern[str]] = {
    "openai": re.compile(r"(?:/v1)?(/chat/completions|/responses|/models)"),
    "anthropic": re.compile(r"(/v1/messages(?:/count_tokens)?)"),
    "gemini": re.compile(r"(/v1(?:beta)?/models/[\w.-]+:(?:generateContent|streamGenerateContent|countTokens))"),
}
"""Paths that are forwarded; every other one is refused. The group is appended to the provider's URL."""


def target(model: ModelSettings, path: str) -> str | None:
    """The provider's address for a path inside the sandbox; None for a path that is not the model's."""
    found = _PATHS[model.dialect].fullmatch(path)
    base = model.url.rstrip("/")
    if model.dialect != "openai":
        base = base.removesuffix("/v1").removesuffix("/v1beta")
    return None if found is None else base + found[1]


class ModelProxy:
    """The proxy of one question, and the tokens its agent has used."""

    def __init__(self, model: ModelSettings, limits: PlanLimits) -> None:
        self._model = model
        self._limits = limits
        self.usage = Usage()
        self.last_status: int | None = None
        """The status of the newest answer of the model."""
        self.broken_budget: str | None = None

    @contextlib.asynccontextmanager
    async def serve(self, listener: socket.socket) -> AsyncIterator[None]:
        """Serve the socket for the duration of the block."""
        app = Starlette(routes=[Route("/{path:path}", self._forward, methods=["GET", "POST"])])
        server = _Server(
            uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_keep_alive=60)
        )
        async with httpx.AsyncClient(timeout=_TIMEOUT, follow_redirects=False) as self._client:
            task = asyncio.create_task(server.serve(sockets=[listener]))
            try:
                yield
            finally:
                server.should_exit = server.force_exit = True
                await task

    async def _forward(self, request: Request) -> Response:
        path = "/" + request.path_params["path"]
        url = target(self._model, path)
        if url is None:
            return _refused(f"the path {path} is not one of the model's API", 404)
        self.broken_budget = self.broken_budget or exceeded(self.usage, self._limits, self._model)
        if self.broken_budget is not None:
            # 400: agents retry a 429 for ever.
            return _refused(self.broken_budget, 400)
        body = await _body(request)
        if body is None:
            return _refused(f"the request is larger than {_LARGEST_REQUEST} bytes", 413)
        call = self._client.build_request(
            request.method,
            url,
            params={"alt": "sse"} if request.query_params.get("alt") == "sse" else None,
            content=_with_usage(body) if path.endswith("/chat/completions") else body,
            headers=self._headers(request),
        )
        try:
            answer = await self._client.send(call, stream=True)
        except httpx.HTTPError as error:
            return _refused(f"the model's provider cannot be reached: {type(error).__name__}", 502)
        if request.method == "POST":
            self.last_status = answer.status_code
        kind = answer.headers.get("content-type", "application/json")
        stream = self._counted(answer, is_stream=kind.startswith("text/event-stream"))
        return StreamingResponse(
            stream, answer.status_code, {"content-type": kind}, background=BackgroundTask(answer.aclose)
        )

    async def _counted(self, answer: httpx.Response, is_stream: bool) -> AsyncIterator[bytes]:
        reader = AnswerReader(is_stream)
        try:
            async for data in answer.aiter_bytes():
                reader.feed(data)
                yield data
        except httpx.HTTPError:
            return  # the agent sees an answer that was broken off, and asks again
        finally:
            if not answer.is_error:
                reader.finish(self.usage)

    def _headers(self, request: Request) -> dict[str, str]:
        names = ("accept", "content-type", "anthropic-version", "anthropic-beta")
        passed = {name: request.headers[name] for name in names if name in request.headers}
        match self._model.dialect:
            case "anthropic":
                return passed | {"x-api-key": self._model.key}
            case "gemini":
                return passed | {"x-goog-api-key": self._model.key}
            case "openai":
                return passed | {"authorization": f"Bearer {self._model.key}"}


async def _body(request: Request) -> bytes | None:
    """The body; None once it is too large, whatever length it announces."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > _LARGEST_REQUEST:
            return None
        parts.append(part)
    return b"".join(parts)


class _Server(uvicorn.Server):
    """A server inside a process that handles signals itself."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _with_usage(body: bytes) -> bytes:
    """The request, which asks a streamed answer to state its tokens; unchanged if it is not a JSON object."""
    try:
        request = json.loads(body)
    except ValueError:
        return body
    if not isinstance(request, dict) or not request.get("stream"):
        return body
    options = request.get("stream_options")
    request["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
    return json.dumps(request).encode()


def _refused(message: str, status: int) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": "sisu_refused"}}, status)
