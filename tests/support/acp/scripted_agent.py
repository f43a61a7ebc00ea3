"""An ACP agent that plays a script, standard library only, because it runs inside the agent's sandbox.

    scripted_agent.py SCRIPT.json

The script maps `initialize`, `session/new` and `prompts` (one list per turn; by goal in `goals`, by what a person
requested in `changes`) to actions, which are methods `do_NAME` of the agent. What a script leaves out is answered
well.
"""

import base64
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

Frame = dict[str, Any]

GOOD_PLAN = {
    "design": ["greet() takes a name"],
    "files": ["greet.py"],
    "risks": ["callers without an argument"],
    "tests": ["test_greet"],
    "testCommand": "python3 -c 'import greet; print(greet.greet())'",
}
INITIALIZED = {
    "protocolVersion": 1,
    "agentCapabilities": {"loadSession": True},
    "agentInfo": {"name": "scripted", "version": "1.2.3"},
    "authMethods": [],
}


class Agent:
    """Reads frames of the client and plays the script."""

    def __init__(self, script: Frame) -> None:
        self.script = script
        self.turn = 0
        self.server: subprocess.Popen[str] | None = None
        self.next_id = 1000

    def run(self) -> None:
        """Answer until stdin ends."""
        while line := sys.stdin.readline():
            frame = json.loads(line)
            if "method" in frame and "id" in frame:
                self.answer(frame)

    def answer(self, frame: Frame) -> None:
        """Play the actions of a request, then answer it unless an action did."""
        method = frame["method"]
        if method == "initialize":
            actions, result = self.script.get("initialize", []), INITIALIZED
        elif method == "session/new":
            self.server_command = frame["params"]["mcpServers"][0]
            default = [{"mcp": "start"}]
            actions, result = self.script.get("session/new", default), {"sessionId": "session-1"}
        elif method == "session/prompt":
            turns = self.turns_of(frame["params"]["prompt"][0]["text"])
            actions, result = turns[min(self.turn, len(turns) - 1)], {"stopReason": "end_turn"}
            self.turn += 1
        else:
            actions, result = [{"error": {"code": -32601, "message": "unknown"}}], {}
        for action in actions:
            if self.act(action, frame):
                return
        self.send({"id": frame["id"], "result": result})

    def turns_of(self, prompt: str) -> list[list[Frame]]:
        """The turns of the conversation: those of its goal, or those of every goal."""
        if self.turn == 0:
            self.goal = prompt.partition("\n")[0].removeprefix("Goal: ")
            _, _, request = prompt.partition("requests these changes to it:\n")
            self.changes = request.partition("\n")[0]
        if self.changes in self.script.get("changes", {}):
            changed: list[list[Frame]] = self.script["changes"][self.changes]
            return changed
        turns: list[list[Frame]] = self.script.get("goals", {}).get(self.goal) or self.script.get(
            "prompts", [[{"submit": GOOD_PLAN}]]
        )
        return turns

    def act(self, action: Frame, frame: Frame) -> bool:
        """Do one action, by the method `do_NAME`; True when the request needs no further answer."""
        ((name, value),) = action.items()
        return bool(getattr(self, f"do_{name}")(value, frame))

    def do_result(self, value: Any, frame: Frame) -> bool:
        """Answer the request."""
        self.send({"id": frame["id"], "result": value})
        return True

    def do_error(self, value: Any, frame: Frame) -> bool:
        """Answer the request by an error."""
        self.send({"id": frame["id"], "error": value})
        return True

    def do_resultThenUpdate(self, value: str, frame: Frame) -> bool:  # noqa: N802
        """End the turn, then send a message."""
        self.send({"id": frame["id"], "result": {"stopReason": "end_turn"}})
        self.report(value)
        return True

    def do_update(self, value: Frame, frame: Frame) -> None:
        """Send an update of the session."""
        self.update(value)

    def do_bigUpdate(self, value: int, frame: Frame) -> None:  # noqa: N802
        """Send a message of so many bytes."""
        self.report("x" * value)

    def do_raw(self, value: str, frame: Frame) -> None:
        """Write a line to stdout."""
        self.write(value.encode() + b"\n")

    def do_rawBytes(self, value: str, frame: Frame) -> None:  # noqa: N802
        """Write bytes to stdout, given in base64."""
        self.write(base64.b64decode(value))

    def do_stderr(self, value: int, frame: Frame) -> None:
        """Write so many bytes to stderr."""
        sys.stderr.write("e" * value)
        sys.stderr.flush()

    def do_say(self, value: str, frame: Frame) -> None:
        """Write a line to stderr."""
        sys.stderr.write(value + "\n")

    def do_exit(self, value: int, frame: Frame) -> None:
        """End at once."""
        os._exit(value)

    def do_kill(self, value: bool, frame: Frame) -> None:
        """Be killed."""
        os.kill(os.getpid(), signal.SIGKILL)

    def do_closeStdout(self, value: bool, frame: Frame) -> None:  # noqa: N802
        """Close stdout and stay."""
        os.close(1)
        time.sleep(3600)

    def do_hang(self, value: str, frame: Frame) -> bool:
        """Do nothing until the client cancels, or for ever."""
        return self.hang(frame, value)

    def do_write(self, value: dict[str, str], frame: Frame) -> None:
        """Write files."""
        for path, text in value.items():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_bytes(text.encode())

    def do_shell(self, value: str, frame: Frame) -> None:
        """Execute a command and report what it printed."""
        done = subprocess.run(value, shell=True, capture_output=True, text=True, check=False)
        self.report(done.stdout + done.stderr)

    def do_orphan(self, value: bool, frame: Frame) -> None:
        """Leave a process in a session of its own that ignores SIGTERM and holds the pipes."""
        subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 3600; true"], start_new_session=True)

    def do_memory(self, value: int, frame: Frame) -> None:
        """Hold so many bytes of memory."""
        held = bytearray(value)
        time.sleep(3600)
        del held

    def do_mcp(self, value: str, frame: Frame) -> None:
        """Start the tool's server."""
        self.start_server()

    def do_lateMcp(self, value: float, frame: Frame) -> bool:  # noqa: N802
        """Answer session/new, then start the tool's server."""
        self.send({"id": frame["id"], "result": {"sessionId": "session-1"}})
        time.sleep(value)
        self.start_server()
        return True

    def do_waitForModel(self, value: str, frame: Frame) -> None:  # noqa: N802
        """Ask the model of this name until it answers `go`."""
        while "go" not in ask_model({"model": value, "stream": True, "messages": [], "tools": [{}]}):
            time.sleep(0.1)

    def do_submit(self, value: Frame, frame: Frame) -> None:
        """Submit a plan and report the answer."""
        self.report(json.dumps(self.call("tools/call", "submit_plan", value)["result"]))

    def do_callTool(self, value: str, frame: Frame) -> None:  # noqa: N802
        """Call a tool and report the answer."""
        self.report(json.dumps(self.call("tools/call", value, {})))

    def do_request(self, value: Frame, frame: Frame) -> None:
        """Send a request to the client and report the answer."""
        self.report(json.dumps(self.ask(value["method"], value["params"]), sort_keys=True))

    def do_model(self, value: Frame, frame: Frame) -> None:
        """Ask the model and report the answer."""
        self.report(ask_model(value))

    def hang(self, frame: Frame, until: str) -> bool:
        """Wait for `cancel` and answer it, or for ever."""
        while line := sys.stdin.readline():
            if until == "cancel" and json.loads(line).get("method") == "session/cancel":
                self.send({"id": frame["id"], "result": {"stopReason": "cancelled"}})
                return True
        return True

    def ask(self, method: str, params: Frame) -> Frame:
        """Send a request to the client and wait for its answer."""
        self.next_id += 1
        self.send({"id": self.next_id, "method": method, "params": params})
        while line := sys.stdin.readline():
            answer = json.loads(line)
            if answer.get("id") == self.next_id and "method" not in answer:
                return {name: answer[name] for name in ("result", "error") if name in answer}
        sys.exit(0)

    def start_server(self) -> None:
        """Start the tool's server as session/new named it, and list its tools."""
        command = self.server_command
        self.server = subprocess.Popen(
            [command["command"], *command["args"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "s", "version": "0"}}
        self.server_request("initialize", hello)
        self.server_send({"method": "notifications/initialized"})
        self.server_request("tools/list", {})

    def call(self, method: str, tool: str, arguments: Frame) -> Frame:
        """Call a tool of the server."""
        return self.server_request(method, {"name": tool, "arguments": arguments})

    def server_request(self, method: str, params: Frame) -> Frame:
        """One request to the server, answered."""
        self.next_id += 1
        self.server_send({"id": self.next_id, "method": method, "params": params})
        assert self.server is not None and self.server.stdout is not None
        answer: Frame = json.loads(self.server.stdout.readline())
        return answer

    def server_send(self, frame: Frame) -> None:
        """One frame to the server."""
        assert self.server is not None and self.server.stdin is not None
        self.server.stdin.write(json.dumps({"jsonrpc": "2.0", **frame}) + "\n")
        self.server.stdin.flush()

    def report(self, text: str) -> None:
        """Show a text to the client as a message of the agent."""
        self.update({"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}})

    def update(self, update: Frame) -> None:
        """Send an update of the session."""
        self.send({"method": "session/update", "params": {"sessionId": "session-1", "update": update}})

    def send(self, frame: Frame) -> None:
        """One frame to the client."""
        self.write(json.dumps({"jsonrpc": "2.0", **frame}).encode() + b"\n")

    def write(self, data: bytes) -> None:
        """Write bytes to stdout."""
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def ask_model(body: Frame) -> str:
    """One chat completion; the text of the answer, or the error's status and text."""
    request = urllib.request.Request(
        "http://127.0.0.1:9917/v1/chat/completions",
        json.dumps(body).encode(),
        {"content-type": "application/json", "authorization": "Bearer added-outside"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read().decode()}"


if __name__ == "__main__":
    Agent(json.loads(Path(sys.argv[1]).read_text())).run()
