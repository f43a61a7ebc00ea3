"""Plays a recorded session as an ACP agent; runs inside the agent's sandbox, standard library only.

    playback_agent.py RECORDING CHANGES

The frames of the recorded agent are sent in their order; where the client spoke, it waits until the live client
sends a frame of the same method. The recorded calls of the tool go to the server that session/new names. CHANGES
maps each path to its content in base64 and its mode, or to null for a file that is removed.
"""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

Frame = dict[str, Any]


class Drift(Exception):
    """The live client does not do what the recorded one did."""


class Playback:
    """The recorded frames, and the ids of the live client's requests by those of the recorded one's."""

    def __init__(self, transcript: Frame, changes: dict[str, Any]) -> None:
        self._frames: list[Frame] = transcript["frames"]
        self._calls: list[Frame] = list(transcript["planCalls"])
        self._changes = changes
        self._live_ids: dict[Any, Any] = {}
        self._server: subprocess.Popen[str] | None = None
        self._number = 0

    def run(self) -> None:
        """Play the session; afterwards wait for the end of stdin."""
        for record in self._frames:
            frame = record["frame"]
            if record["way"] == "out":
                self._expect(frame)
                continue
            while self._calls and self._calls[0]["at"] <= record["at"]:
                self._submit(self._calls.pop(0)["arguments"])
            self._send(frame)
        while sys.stdin.readline():
            pass

    def _expect(self, recorded: Frame) -> None:
        live = self._receive()
        if live.get("method") != recorded.get("method"):
            raise Drift(f"the recorded client sent {_name(recorded)}, the live one {_name(live)}")
        if "method" in recorded and "id" in recorded:
            self._live_ids[recorded["id"]] = live["id"]
        if live.get("method") == "session/new":
            self._start(live["params"])

    def _start(self, session: Frame) -> None:
        """Make the recorded changes, start the tool's server and list its tools."""
        for path, change in self._changes.items():
            if change is None:
                os.unlink(path)  # noqa: PTH108
                continue
            target = Path(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(base64.b64decode(change["content"]))
            target.chmod(0o755 if change["mode"] == "100755" else 0o644)
        server = session["mcpServers"][0]
        self._server = subprocess.Popen(
            [server["command"], *server["args"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        hello = {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "playback", "version": "1"},
        }
        self._ask("initialize", hello)
        self._tell({"method": "notifications/initialized"})
        self._ask("tools/list", {})

    def _submit(self, arguments: Frame) -> None:
        self._ask("tools/call", {"name": "submit_plan", "arguments": arguments})

    def _ask(self, method: str, params: Frame) -> None:
        self._number += 1
        self._tell({"id": self._number, "method": method, "params": params})
        assert self._server is not None and self._server.stdout is not None
        self._server.stdout.readline()

    def _tell(self, frame: Frame) -> None:
        assert self._server is not None and self._server.stdin is not None
        self._server.stdin.write(json.dumps({"jsonrpc": "2.0", **frame}) + "\n")
        self._server.stdin.flush()

    def _send(self, frame: Frame) -> None:
        if "method" not in frame and frame.get("id") in self._live_ids:
            frame = {**frame, "id": self._live_ids.pop(frame["id"])}
        sys.stdout.write(json.dumps(frame) + "\n")
        sys.stdout.flush()

    def _receive(self) -> Frame:
        line = sys.stdin.readline()
        if not line:
            sys.exit(0)
        received: Frame = json.loads(line)
        return received


def main() -> None:
    """Play the recording that the command line names."""
    recording, changes = (json.loads(Path(name).read_text()) for name in sys.argv[1:3])
    try:
        Playback(recording["transcript"], changes).run()
    except Drift as drift:
        _fail(str(drift))


def _name(frame: Frame) -> str:
    return str(frame.get("method", "an answer"))


def _fail(message: str) -> NoReturn:
    sys.stderr.write(f"{message}\n")
    sys.exit(1)


if __name__ == "__main__":
    main()
