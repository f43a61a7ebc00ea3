"""Text output: the tasks of a run for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from sisu_pipeline.console.formatting import table
from sisu_pipeline.domain.untrusted_text import for_terminal

MOST_TASKS = 20
"""Tasks that are listed, the failed ones first."""
_LINES = 20
_LONGEST = 60

Json = Mapping[str, Any]


def tasks(view: Json, ended: Sequence[Json]) -> str:
    """Format the tasks that have ended, and the end of what the first failed one wrote; empty without tasks."""
    shown = ended[:MOST_TASKS]
    if not shown:
        return ""
    rows = [("TASK", "TEST", "RESULT", "EXIT", "SECONDS", "COMMAND")]
    rows += [
        (
            str(task["position"]),
            _short(task["test"] or "-"),
            task["result"],
            str(task["exit"]),
            f"{task['wallMs'] / 1000:.1f}",
            _short(task["command"]),
        )
        for task in shown
    ]
    finished = view["tasks"]["finished"]
    more = [f"… and {finished - len(shown)} more"] if finished > len(shown) else []
    return "\n".join([table(rows), *more, *_first_failure(shown[0])])


def _first_failure(task: Json) -> list[str]:
    """What the first failed task wrote last: its errors, or its output when it wrote none."""
    if task["errCode"] == "NONE":
        return []
    name = "stderr" if task["stderrTail"].strip() else "stdout"
    written = task[f"{name}Tail"].rstrip().split("\n")[-_LINES:]
    return [
        "",
        f"First failure, task {task['position']}, {name}:",
        *(f"  {for_terminal(line)}" for line in written),
    ]


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
