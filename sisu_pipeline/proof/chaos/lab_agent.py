"""A small coding agent for labs: it does what the tool calls of its model name. Standard library only.

It runs inside the agent's sandbox, speaks the Agent Client Protocol over stdio, and reaches its model and the tool
`submit_plan` as every agent does. The calls are `write`, `remove`, `rename`, `leave_orphan`, `exit`, `hang` and
`submit_plan`.

    lab_agent.py            serve one session
    lab_agent.py orphan     ignore SIGTERM and wait
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

# `MODEL_PORT` of agent_profiles.py, which the sandbox lacks.
_MODEL = "http://127.0.0.1:9917/v1/chat/completions"
_MODEL_ATTEMPTS = 5
_MODEL_PAUSE_S = 0.3
_MODEL_TIMEOUT_S = 30
_SESSION = "lab-session"
_INITIALIZED = {
    "protocolVersion": 1,
    "agentCapabilities": {},
    "authMethods": [],
    "agentInfo": {"name": "lab-agent", "version": "1"},
}

Json = dict[str, Any]


class ModelAway(Exception):
    """The model gave no complete answer."""


class Agent:
    """The agent's side of one connection."""

    def __init__(self) -> None:
        self._messages: list[Json] = []
        self._server: subprocess.Popen[str] | None = None
        self._number = 0

    def serve(self) -> None:
        """Answer requests until stdin ends."""
        for line in sys.stdin:
            frame = json.loads(line)
            if "method" in frame and "id" in frame:
                try:
                    self._send({"id": frame["id"], "result": self._answer(frame["method"], frame["params"])})
                except ModelAway as away:
                    self._send({"id": frame["id"], "error": {"code": -32603, "message": str(away)}})

    def _answer(self, method: str, params: Json) -> Json:
        if method == "initialize":
            return _INITIALIZED
        if method == "session/new":
            self._start_server(params["mcpServers"][0])
            return {"sessionId": _SESSION}
        self._messages.append({"role": "user", "content": params["prompt"][0]["text"]})
        return {"stopReason": self._turn()}

    def _turn(self) -> str:
        """Ask the model and execute its calls until it makes none."""
        while True:
            message = self._ask_model()
            self._messages.append(message)
            calls = message.get("tool_calls", [])
            if not calls:
                return "end_turn"
            for call in calls:
                arguments = json.loads(call["function"]["arguments"])
                result = self._execute(call["function"]["name"], arguments)
                self._messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})

    def _execute(self, name: str, arguments: Json) -> str:
        self._report(name)
        match name:
            case "write":
                path = Path(arguments["path"])
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(arguments["text"])
            case "remove":
                Path(arguments["path"]).unlink()
            case "rename":
                path = Path(arguments["path"])
                path.parent.mkdir(parents=True, exist_ok=True)
                Path(arguments["source"]).rename(path)
                path.chmod(int(arguments["mode"], 8) & 0o777)
            case "leave_orphan":
                subprocess.Popen([sys.executable, __file__, "orphan"], start_new_session=True)
            case "exit":
                os._exit(7)
            case "hang":
                time.sleep(3600)
            case _:
                return self._call_tool(name, arguments)
        return "done"

    def _ask_model(self) -> Json:
        """One streamed completion. Raises ModelAway when the model stays away."""
        body = {"model": "lab", "stream": True, "messages": self._messages, "tools": [{"type": "function"}]}
        request = urllib.request.Request(
            _MODEL,
            json.dumps(body).encode(),
            {"content-type": "application/json", "authorization": "Bearer added-outside"},
        )
        problem = ""
        for _ in range(_MODEL_ATTEMPTS):
            try:
                with urllib.request.urlopen(request, timeout=_MODEL_TIMEOUT_S) as answer:  # noqa: S310
                    text = answer.read().decode()
                if "data: [DONE]" in text:
                    return _message(text)
                problem = "the answer was cut off"
            except (urllib.error.URLError, OSError) as error:
                problem = str(error)
            time.sleep(_MODEL_PAUSE_S)
        raise ModelAway(f"the model cannot be reached: {problem}")

    def _start_server(self, server: Json) -> None:
        """Start the tool's server and list its tools."""
        self._server = subprocess.Popen(
            [server["command"], *server["args"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "lab", "version": "1"}}
        self._ask_server("initialize", hello)
        self._send_server({"method": "notifications/initialized"})
        self._ask_server("tools/list", {})

    def _call_tool(self, name: str, arguments: Json) -> str:
        return json.dumps(self._ask_server("tools/call", {"name": name, "arguments": arguments}))

    def _ask_server(self, method: str, params: Json) -> Json:
        self._number += 1
        self._send_server({"id": self._number, "method": method, "params": params})
        assert self._server is not None and self._server.stdout is not None
        line = self._server.stdout.readline()
        if not line:
            sys.exit("the server of the tool ended")
        answer: Json = json.loads(line)
        return answer

    def _send_server(self, frame: Json) -> None:
        assert self._server is not None and self._server.stdin is not None
        self._server.stdin.write(json.dumps({"jsonrpc": "2.0", **frame}) + "\n")
        self._server.stdin.flush()

    def _report(self, text: str) -> None:
        """Send a message of the agent as an update of the session."""
        update = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": f"{text}\n"}}
        self._send({"method": "session/update", "params": {"sessionId": _SESSION, "update": update}})

    def _send(self, frame: Json) -> None:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **frame}) + "\n")
        sys.stdout.flush()


def _message(stream: str) -> Json:
    """The assistant's message of a streamed answer."""
    lines = [line.removeprefix("data: ") for line in stream.splitlines() if line.startswith("data: {")]
    message: Json = {"role": "assistant", "content": ""}
    for choice in (choice for line in lines for choice in json.loads(line)["choices"]):
        message |= choice["delta"]
    return message


def _wait_as_orphan() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(3600)


if __name__ == "__main__":
    if sys.argv[1:] == ["orphan"]:
        _wait_as_orphan()
    else:
        Agent().serve()
