"""Following a run: live on a terminal, a line per change elsewhere."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from threading import Event, Thread
from typing import Any

from sisu_pipeline.console import formatting
from sisu_pipeline.console.api_client import Api
from sisu_pipeline.console.command_output import write
from sisu_pipeline.console.exit_codes import CANNOT_WORK, REFUSED, WAITS, Failure

ENDS = frozenset({"succeeded", "failed", "canceled", "retries_exceeded"})
_WAITS_AT = "waiting_input"
# An API that restarts is back within seconds; one that was never there is not waited for.
_PATIENCE_S = 30.0
_PAUSE_S = 0.5
_LAST_WORDS_S = 5.0

State = dict[str, Any]
Listen = Callable[[Callable[[str], None]], AbstractContextManager[Callable[[State], None]]]


def follow(api: Api, run: str, *, until_gate: bool, silent: bool, output: bool = False) -> State:
    """The run's last state: it has ended, or it waits for a person and `until_gate` says to stop there.

    With `output`, what its tasks say is shown between its changes.
    """
    states = _states(api, run, until_gate)
    if silent:
        return _last(states)
    listen = partial(_listening, api, run) if output else _deaf
    if sys.stdout.isatty():
        return _live(states, listen)
    return _lines(states, listen)


def follow_output(api: Api, run: str) -> None:
    """Print what the run's tasks say, whole lines, until the run has ended."""
    for line in _output_lines(api.run_output(run)):
        write(line)


def _output_lines(pieces: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Whole lines, each after its task's place in the fan-out, and `!` when it is of stderr."""
    unfinished: dict[tuple[int, str], str] = {}
    for piece in pieces:
        stream = (piece["position"], piece["kind"])
        *lines, unfinished[stream] = (unfinished.get(stream, "") + piece["chunk"]).split("\n")
        yield from (_said(stream, line) for line in lines)
    yield from (_said(stream, rest) for stream, rest in unfinished.items() if rest)


def _said(stream: tuple[int, str], line: str) -> str:
    position, kind = stream
    return f"{position}{'!' if kind == 'stderr' else ' '} {line}"


@contextmanager
def _listening(api: Api, run: str, say: Callable[[str], None]) -> Iterator[Callable[[State], None]]:
    """Say the tasks' lines from a thread of its own; the block is given what to call with the last state.

    A run that ended has its last lines said before the block is left.
    """
    is_over = Event()

    def listen() -> None:
        for line in _output_lines(_pieces(api, run, is_over)):
            say(line)

    thread = Thread(target=listen, daemon=True, name="output")

    def ended(last: State) -> None:
        is_over.set()
        if last["status"] in ENDS:
            thread.join(_LAST_WORDS_S)

    thread.start()
    yield ended


@contextmanager
def _deaf(say: Callable[[str], None]) -> Iterator[Callable[[State], None]]:
    yield lambda last: None


def _pieces(api: Api, run: str, is_over: Event) -> Iterator[dict[str, Any]]:
    """The output until the run is over, across restarts of the API."""
    seen = 0
    while True:
        with suppress(Failure):
            for piece in api.run_output(run, seen):
                seen = piece["id"]
                yield piece
        if is_over.wait(_PAUSE_S):
            return


def exit_status(state: State) -> int:
    """0 for success, 3 for a run that waits, 1 for any other end."""
    if state["status"] == _WAITS_AT:
        return WAITS
    return 0 if state["status"] == "succeeded" else REFUSED


def _states(api: Api, run: str, until_gate: bool) -> Iterator[State]:
    deadline: float | None = None
    while True:
        try:
            for state in api.run_events(run):
                deadline = time.monotonic() + _PATIENCE_S
                yield state
                if state["status"] in ENDS or (until_gate and state["status"] == _WAITS_AT):
                    return
        except Failure as failure:
            if failure.exit_status != CANNOT_WORK or deadline is None or time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE_S)


def _last(states: Iterator[State]) -> State:
    *_, last = states
    return last


def _lines(states: Iterator[State], listen: Listen) -> State:
    shown = ""
    with listen(write) as ended:
        for state in states:
            if (line := formatting.progress(state)) != shown and state["status"] not in ENDS:
                write(line)
                shown = line
        ended(state)
    if line != shown:
        write(line)
    return state


def _live(states: Iterator[State], listen: Listen) -> State:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from sisu_pipeline.console.run_progress import picture

    console = Console()
    # What is printed while the picture is shown scrolls by above it.
    with (
        Live(console=console, refresh_per_second=10) as live,
        listen(lambda line: console.print(Text(line))) as ended,
    ):
        for state in states:
            live.update(picture(state))
        ended(state)
    return state
