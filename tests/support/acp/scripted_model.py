"""An OpenAI-compatible chat server that plays a script: one turn per request, chosen by the model's name.

The turn's number is the number of assistant messages in the request, so the server keeps no state but the requests.
A request without tools, such as an agent's own title generation, is answered by a text.
"""

import json
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

KEY = "sk-test-0123456789"
Turn = str | tuple[str, dict[str, Any]]
"""A text, or the name of a tool and its arguments."""


@dataclass
class ScriptedModel:
    """A running server: `scripts` maps the name of a model to its turns."""

    scripts: dict[str, list[Turn]] = field(default_factory=dict)
    status: int = 200
    """The status of every answer; other than 200, an error."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    async def complete(self, request: Request) -> Response:
        """One chat completion."""
        body = await request.json()
        self.requests.append({"authorization": request.headers.get("authorization"), **body})
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return JSONResponse({"error": {"message": "Incorrect API key provided"}}, 401)
        if self.status != 200:
            return JSONResponse({"error": {"message": "as the script wants it"}}, self.status)
        number = sum(message["role"] == "assistant" for message in body["messages"])
        script = self.scripts.get(body["model"], ["Done."])
        turn: Turn = script[min(number, len(script) - 1)] if body.get("tools") else "A title"
        if not body.get("stream"):
            return JSONResponse(_completion(turn, number, body["model"]))
        return StreamingResponse(_events(turn, number, body["model"]), media_type="text/event-stream")


@contextmanager
def running_model(scripts: dict[str, list[Turn]] | None = None) -> Iterator[ScriptedModel]:
    """A server in a thread of this process."""
    model = ScriptedModel(scripts or {})
    app = Starlette(routes=[Route("/v1/chat/completions", model.complete, methods=["POST"])])
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


USAGE = {"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050}


def _completion(turn: Turn, number: int, model: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": turn if isinstance(turn, str) else None}
    if not isinstance(turn, str):
        function = {"name": turn[0], "arguments": json.dumps(turn[1])}
        message["tool_calls"] = [{"id": f"call_{number}", "type": "function", "function": function}]
    choice = {"index": 0, "message": message, "finish_reason": "stop" if isinstance(turn, str) else "tool_calls"}
    head = {"id": f"chatcmpl-{number}", "object": "chat.completion", "created": 0, "model": model}
    return {**head, "choices": [choice], "usage": USAGE}


def _events(turn: Turn, number: int, model: str) -> Iterator[str]:
    base = {"id": f"chatcmpl-{number}", "object": "chat.completion.chunk", "created": 0, "model": model}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    chunks = [chunk({"role": "assistant", "content": turn if isinstance(turn, str) else ""})]
    if not isinstance(turn, str):
        function = {"name": turn[0], "arguments": json.dumps(turn[1])}
        call = {"index": 0, "id": f"call_{number}", "type": "function", "function": function}
        chunks.append(chunk({"tool_calls": [call]}))
    chunks.append(chunk({}, "stop" if isinstance(turn, str) else "tool_calls"))
    chunks.append({**base, "choices": [], "usage": USAGE})
    for each in chunks:
        yield f"data: {json.dumps(each)}\n\n"
    yield "data: [DONE]\n\n"
