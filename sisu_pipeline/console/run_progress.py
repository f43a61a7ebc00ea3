"""A run's progress as a live display on a terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from sisu_pipeline.console import formatting
from sisu_pipeline.domain.untrusted_text import for_cell

_COLORS = {"succeeded": "green", "waiting_input": "yellow", "failed": "red", "retries_exceeded": "red"}


def render_progress(state: Mapping[str, Any]) -> RenderableType:
    """Render the steps, the gate, the tasks as a bar, the status, and the error or the limit."""
    rows = Table.grid(padding=(0, 2))
    done = formatting.STEPS.index(state["lastStep"]) + 1 if state["lastStep"] else 0
    for position, name in enumerate(formatting.STEPS):
        if name == "DecideST":
            rows.add_row(
                _mark(state["decision"] is not None, state["status"] == "waiting_input"),
                "gate",
                for_cell(formatting.gate(state)),
            )
        is_active = position == done and state["status"] == "running"
        rows.add_row(_mark(position < done, is_active), name, _tasks(state) if name == "ExecuteST" else "")
    status = Text(state["status"], style=_COLORS.get(state["status"], "cyan"))
    limit = state.get("waitsFor")
    waits = Text(for_cell(f"waits for a limit: {limit}"), style="yellow") if limit else Text("")
    error = Text(for_cell(state["error"]), style="red") if state.get("error") else waits
    return Group(Text(state["runId"], style="bold"), rows, status, error)


def _mark(is_done: bool, is_active: bool) -> RenderableType:
    if is_done:
        return Text("✔", style="green")
    return Spinner("dots", style="cyan") if is_active else Text("·", style="dim")


def _tasks(state: Mapping[str, Any]) -> RenderableType:
    counts = state["tasks"]
    if "total" not in counts:
        return Text("")
    bar = Table.grid(padding=(0, 1))
    bar.add_row(ProgressBar(total=counts["total"], completed=counts["finished"], width=30), formatting.tasks(state))
    return bar
