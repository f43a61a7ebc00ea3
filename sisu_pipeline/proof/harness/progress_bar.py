"""Progress of a lab on stderr: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ReportProgress = Callable[[int, str], None]
"""Called with the number of finished steps and a description of the current one."""

_LINE_INTERVAL_S = 2.0


@contextmanager
def progress(title: str, total: int) -> Iterator[ReportProgress]:
    """Show progress inside the block, through the function it yields."""
    if sys.stderr.isatty():
        with _bar(title, total) as bar:
            yield bar
    else:
        yield _lines(title, total)


@contextmanager
def _bar(title: str, total: int) -> Iterator[ReportProgress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.description}"), console=Console(stderr=True)) as bars:
        bar = bars.add_task("", total=total)
        yield lambda done, text: bars.update(bar, completed=done, description=text)


def _lines(title: str, total: int) -> ReportProgress:
    last = [-1, 0.0]

    def line(done: int, text: str) -> None:
        now = time.monotonic()
        if done == last[0] and now - last[1] < _LINE_INTERVAL_S:
            return
        last[:] = [done, now]
        sys.stderr.write(f"{title} {done}/{total} {text}\n")
        sys.stderr.flush()

    return line
