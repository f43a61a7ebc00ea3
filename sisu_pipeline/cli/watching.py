"""Following a run: live on a terminal, a line per change elsewhere."""

import sys
import time
from collections.abc import Iterator
from typing import Any

from sisu_pipeline.cli import words
from sisu_pipeline.cli.client import Api
from sisu_pipeline.cli.failures import CANNOT_WORK, REFUSED, WAITS, Failure
from sisu_pipeline.cli.voice import write

ENDS = frozenset({"succeeded", "failed", "canceled", "retries_exceeded"})
_WAITS_AT = "waiting_input"
# An API that restarts is back within seconds; one that was never there is not waited for.
_PATIENCE_S = 30.0
_PAUSE_S = 0.5

State = dict[str, Any]


def follow(api: Api, run: str, *, until_gate: bool, silent: bool) -> State:
    """The run's last state: it has ended, or it waits for a person and `until_gate` says to stop there."""
    states = _states(api, run, until_gate)
    if silent:
        return _last(states)
    if sys.stdout.isatty():
        return _live(states)
    return _lines(states)


def follow_output(api: Api, run: str) -> None:
    """Print what the run's tasks say, whole lines, until the run has ended."""
    unfinished: dict[tuple[int, str], str] = {}
    for piece in api.run_output(run):
        stream = (piece["position"], piece["kind"])
        *lines, unfinished[stream] = (unfinished.get(stream, "") + piece["chunk"]).split("\n")
        for line in lines:
            write(_said(stream, line))
    for stream, rest in unfinished.items():
        if rest:
            write(_said(stream, rest))


def _said(stream: tuple[int, str], line: str) -> str:
    position, kind = stream
    return f"{position}{'!' if kind == 'stderr' else ' '} {line}"


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


def _lines(states: Iterator[State]) -> State:
    shown = ""
    for state in states:
        if (line := words.progress(state)) != shown:
            write(line)
            shown = line
    return state


def _live(states: Iterator[State]) -> State:
    from rich.console import Console
    from rich.live import Live

    from sisu_pipeline.cli.picture import picture

    with Live(console=Console(), refresh_per_second=10) as live:
        for state in states:
            live.update(picture(state))
    return state
