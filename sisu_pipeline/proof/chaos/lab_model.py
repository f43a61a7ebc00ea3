"""A scripted provider of models for labs: `python -m sisu_pipeline.proof.chaos.lab_model FOLDER`.

An OpenAI-compatible server for `lab_agent.py`. `FOLDER/scripts` holds the script of each goal and of each request
for changes, `FOLDER/address` the host and port to listen on. `FOLDER/sessions` counts the sessions of each goal, so
that a killed server continues where it was.
"""

import asyncio
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from sisu_pipeline.domain.canonical import sha256_hex
from sisu_pipeline.proof.chaos.scenarios import CHANGES

KEY = "sk-lab-model-0123456789"
_USAGE = {"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050}
Json = dict[str, Any]


@dataclass(frozen=True)
class Turn:
    """One answer of the model: tool calls as name and arguments, none of them at the end of the work.

    `delay_s` passes before the answer.
    """

    delay_s: float
    calls: tuple[tuple[str, Json], ...] = ()


@dataclass(frozen=True)
class Script:
    """The sessions about one goal, each a list of turns. The last session, and its last turn, repeat."""

    sessions: tuple[tuple[Turn, ...], ...]

    def turn(self, session: int, number: int) -> Turn:
        """A turn of a session; both are counted from 0."""
        turns = self.sessions[min(session, len(self.sessions) - 1)]
        return turns[min(number, len(turns) - 1)]


@dataclass(frozen=True)
class LabModel:
    """The server: the folder holds its scripts and its state."""

    folder: Path

    def app(self) -> Starlette:
        """The server."""
        return Starlette(routes=[Route("/v1/chat/completions", self._complete, methods=["POST"])])

    async def _complete(self, request: Request) -> Response:
        body = await request.json()
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return Response("unknown key", 401)
        messages = body["messages"]
        prompt = messages[0]["content"]
        goal = prompt.partition("\n")[0].removeprefix("Goal: ")
        goal += CHANGES if CHANGES in prompt else ""
        number = sum(message["role"] == "assistant" for message in messages)
        turn = read_script(self.folder, goal).turn(self._session(goal, is_new=number == 0), number)
        await asyncio.sleep(turn.delay_s)
        return StreamingResponse(_events(turn, number), media_type="text/event-stream")

    def _session(self, goal: str, *, is_new: bool) -> int:
        """The number of the newest session about a goal, from 0; counts a new one first."""
        counter = self.folder / "sessions" / sha256_hex(goal)
        if is_new:
            with counter.open("ab") as file:
                file.write(b".")
        return max(0, counter.stat().st_size - 1)


def make_folder(folder: Path, port: int) -> None:
    """Make the folder of a server that will listen on a loopback port."""
    for name in ("scripts", "sessions"):
        (folder / name).mkdir(parents=True)
    (folder / "address").write_text(f"127.0.0.1:{port}")


def write_script(folder: Path, goal: str, script: Script) -> None:
    """Write what the model answers about a goal, before an agent asks."""
    sessions = [[[turn.delay_s, turn.calls] for turn in session] for session in script.sessions]
    (folder / "scripts" / sha256_hex(goal)).write_text(json.dumps(sessions))


def read_script(folder: Path, goal: str) -> Script:
    """Read what `write_script` wrote."""
    sessions: list[list[Any]] = json.loads((folder / "scripts" / sha256_hex(goal)).read_text())
    return Script(
        tuple(
            tuple(Turn(delay_s, tuple((name, given) for name, given in calls)) for delay_s, calls in session)
            for session in sessions
        )
    )


def _events(turn: Turn, number: int) -> Iterator[str]:
    calls = [
        {
            "index": index,
            "id": f"call_{number}_{index}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments)},
        }
        for index, (name, arguments) in enumerate(turn.calls)
    ]
    delta: Json = {"role": "assistant", "content": "" if calls else "Done."}
    if calls:
        delta["tool_calls"] = calls
    base = {"id": f"lab-{number}", "object": "chat.completion.chunk", "created": 0, "model": "lab"}
    finish = "tool_calls" if calls else "stop"
    for choices in ([{"index": 0, "delta": delta}], [{"index": 0, "delta": {}, "finish_reason": finish}]):
        yield f"data: {json.dumps({**base, 'choices': choices})}\n\n"
    yield f"data: {json.dumps({**base, 'choices': [], 'usage': _USAGE})}\n\n"
    yield "data: [DONE]\n\n"


def main() -> None:
    """Serve until the process is ended."""
    folder = Path(sys.argv[1])
    host, _, port = (folder / "address").read_text().partition(":")
    uvicorn.run(LabModel(folder).app(), host=host, port=int(port), log_level="warning", lifespan="off")


if __name__ == "__main__":
    main()
