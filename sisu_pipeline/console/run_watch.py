"""Follow a run: a live display on a terminal, one line per change elsewhere."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from threading import Event, Thread
from typing import Any

from sisu_pipeline.client import RequestFailed
from sisu_pipeline.client.replies import OutputPiece
from sisu_pipeline.console import formatting
from sisu_pipeline.console.api_client import Api
from sisu_pipeline.console.command_output import print_line
from sisu_pipeline.console.exit_codes import FAILED, WAITING
from sisu_pipeline.domain.status import TERMINAL, RunStatus
from sisu_pipeline.domain.untrusted_text import for_terminal

# An API that restarts is back within seconds.
_RECONNECT_DELAY_S = 0.5
_OUTPUT_DRAIN_TIMEOUT_S = 5.0

State = Mapping[str, Any]
OutputPrinter = Callable[[Callable[[str], None]], AbstractContextManager[Callable[[State], None]]]
"""Prints task output through the given function inside the block; call what it yields with the final state."""


def follow(api: Api, run: str, *, until_gate: bool, silent: bool, output: bool = False) -> State:
    """Follow a run to its terminal status, or with `until_gate` to its open gate; returns the last state.

    `output`: print the output of its tasks between the changes. `silent`: print nothing.
    """
    states: Iterator[State] = api.watch(run, until_gate=until_gate)
    if silent:
        return _last(states)
    print_output = partial(_with_output, api, run) if output else _without_output
    if sys.stdout.isatty():
        return _show_live(states, print_output)
    return _print_changes(states, print_output)


def follow_output(api: Api, run: str) -> None:
    """Print the output of the run's tasks in whole lines, until the run ends."""
    for line in _output_lines(api.run_output(run)):
        print_line(line)


def _output_lines(pieces: Iterable[OutputPiece]) -> Iterator[str]:
    """Assemble pieces into lines, prefixed with the task's position in the fan-out, and `!` for stderr."""
    unfinished: dict[tuple[int, str], str] = {}
    for piece in pieces:
        stream = (piece["position"], piece["kind"])
        *lines, unfinished[stream] = (unfinished.get(stream, "") + piece["chunk"]).split("\n")
        yield from (_prefixed(stream, line) for line in lines)
    yield from (_prefixed(stream, rest) for stream, rest in unfinished.items() if rest)


def _prefixed(stream: tuple[int, str], line: str) -> str:
    position, kind = stream
    return f"{position}{'!' if kind == 'stderr' else ' '} {for_terminal(line)}"


@contextmanager
def _with_output(api: Api, run: str, print_text: Callable[[str], None]) -> Iterator[Callable[[State], None]]:
    """Print the tasks' output from a thread; the block calls what it is given with the final state.

    When the run has ended, that call returns after the last lines were printed.
    """
    is_over = Event()

    def print_lines() -> None:
        for line in _output_lines(_reconnecting_output(api, run, is_over)):
            print_text(line)

    thread = Thread(target=print_lines, daemon=True, name="output")

    def finish(last: State) -> None:
        is_over.set()
        if last["status"] in TERMINAL:
            thread.join(_OUTPUT_DRAIN_TIMEOUT_S)

    thread.start()
    yield finish


@contextmanager
def _without_output(print_text: Callable[[str], None]) -> Iterator[Callable[[State], None]]:
    yield lambda last: None


def _reconnecting_output(api: Api, run: str, is_over: Event) -> Iterator[OutputPiece]:
    """Yield output until the run is over; reconnect when the API restarts."""
    last_id = 0
    while True:
        with suppress(RequestFailed):
            for piece in api.run_output(run, last_id):
                last_id = piece["id"]
                yield piece
        if is_over.wait(_RECONNECT_DELAY_S):
            return


def exit_status(state: State) -> int:
    """The exit code for a run's last state: 0 succeeded, 3 waiting for a human decision, 1 any other."""
    if state["status"] == RunStatus.WAITING_INPUT:
        return WAITING
    return 0 if state["status"] == RunStatus.SUCCEEDED else FAILED


def _last(states: Iterator[State]) -> State:
    *_, last = states
    return last


def _print_changes(states: Iterator[State], print_output: OutputPrinter) -> State:
    printed = ""
    with print_output(print_line) as finish:
        for state in states:
            if (line := formatting.progress(state)) != printed and state["status"] not in TERMINAL:
                print_line(line)
                printed = line
        finish(state)
    if line != printed:
        print_line(line)
    return state


def _show_live(states: Iterator[State], print_output: OutputPrinter) -> State:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from sisu_pipeline.console.run_progress import render_progress

    console = Console()
    # Lines printed while the display is live scroll by above it.
    with (
        Live(console=console, refresh_per_second=10) as live,
        print_output(lambda line: console.print(Text(line))) as finish,
    ):
        for state in states:
            live.update(render_progress(state))
        finish(state)
    return state
