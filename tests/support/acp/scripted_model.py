"""A server of four model APIs that plays a script: one turn per request, chosen by the model's name.

The turn's number is the number of the model's earlier turns in the request, so the server keeps no state but the
requests. A request without tools, such as an agent's own title generation, is answered by a text.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.support.acp import model_answers
from tests.support.acp.model_answers import Turn

KEY = "sk-test-0123456789"
USAGE = model_answers.CHAT_USAGE
_EVENTS = "text/event-stream"


@dataclass
class ScriptedModel:
    """A running server: `scripts` maps the name of a model to its turns."""

    scripts: dict[str, list[Turn]] = field(default_factory=dict)
    status: int = 200
    """The status of every answer; other than 200, an error."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    """The body of each request, with its key as `authorization`."""
    url: str = ""

    async def complete(self, request: Request) -> Response:
        """Chat completions of OpenAI."""
        body = await request.json()
        if refusal := self._received(body, request.headers.get("authorization"), f"Bearer {KEY}"):
            return refusal
        number = sum(message["role"] == "assistant" for message in body["messages"])
        turn = self._turn(body["model"], number, has_tools=bool(body.get("tools")))
        if not body.get("stream"):
            return JSONResponse(model_answers.completion(turn, number, body["model"]))
        return StreamingResponse(model_answers.chat_events(turn, number, body["model"]), media_type=_EVENTS)

    async def respond(self, request: Request) -> Response:
        """Responses of OpenAI."""
        body = await request.json()
        if refusal := self._received(body, request.headers.get("authorization"), f"Bearer {KEY}"):
            return refusal
        number = sum(
            item.get("type") in ("function_call", "custom_tool_call") or item.get("role") == "assistant"
            for item in body["input"]
        )
        turn = self._turn(body["model"], number, has_tools=bool(body.get("tools")))
        return StreamingResponse(model_answers.response_events(turn, number, body["model"]), media_type=_EVENTS)

    async def message(self, request: Request) -> Response:
        """Messages of Anthropic."""
        body = await request.json()
        if refusal := self._received(body, request.headers.get("x-api-key"), KEY):
            return refusal
        number = sum(message["role"] == "assistant" for message in body["messages"])
        turn = self._turn(body["model"], number, has_tools=bool(body.get("tools")))
        return StreamingResponse(model_answers.message_events(turn, number, body["model"]), media_type=_EVENTS)

    async def generate(self, request: Request) -> Response:
        """Generated content of Gemini, as a document or a stream."""
        body = await request.json()
        name, _, method = request.path_params["call"].partition(":")
        if refusal := self._received({"model": name, **body}, request.headers.get("x-goog-api-key"), KEY):
            return refusal
        number = sum(content.get("role") == "model" for content in body["contents"])
        answer = model_answers.generated(self._turn(name, number, has_tools=bool(body.get("tools"))))
        if method != "streamGenerateContent":
            return JSONResponse(answer)
        return StreamingResponse(model_answers.unnamed([answer]), media_type=_EVENTS)

    def _received(self, body: dict[str, Any], given: str | None, wanted: str) -> Response | None:
        """Record a request; the error that answers it, if one does."""
        self.requests.append({"authorization": given, **body})
        if given != wanted:
            return JSONResponse({"error": {"message": "Incorrect API key provided"}}, 401)
        if self.status != 200:
            return JSONResponse({"error": {"message": "as the script wants it"}}, self.status)
        return None

    def _turn(self, model: str, number: int, *, has_tools: bool) -> Turn:
        script = self.scripts.get(model, ["Done."])
        return script[min(number, len(script) - 1)] if has_tools else "A title"


@contextmanager
def running_model(scripts: dict[str, list[Turn]] | None = None) -> Iterator[ScriptedModel]:
    """A server in a thread of this process."""
    model = ScriptedModel(scripts or {})
    app = Starlette(
        routes=[
            Route("/v1/chat/completions", model.complete, methods=["POST"]),
            Route("/v1/responses", model.respond, methods=["POST"]),
            Route("/v1/messages", model.message, methods=["POST"]),
            Route("/v1beta/models/{call}", model.generate, methods=["POST"]),
        ]
    )
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline, "the model server does not start"
        threading.Event().wait(0.01)
    model.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
    try:
        yield model
    finally:
        server.should_exit = True
        thread.join(10)
