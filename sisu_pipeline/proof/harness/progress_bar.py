"""How far a lab is: a bar on a terminal, plain lines elsewhere; both on stderr."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, str], None]

_LINE_EVERY_S = 2.0


@contextmanager
def progress(title: str, total: int) -> Iterator[Progress]:
    """A function of (how many are done, what happens now)."""
    if sys.stderr.isatty():
        with _bar(title, total) as bar:
            yield bar
    else:
        yield _lines(title, total)


@contextmanager
def _bar(title: str, total: int) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, TextColumn("{task.description}"), console=Console(stderr=True)) as bars:
        bar = bars.add_task("", total=total)
        yield lambda done, text: bars.update(bar, completed=done, description=text)


def _lines(title: str, total: int) -> Progress:
    last = [-1, 0.0]

    def line(done: int, text: str) -> None:
        now = time.monotonic()
        if done == last[0] and now - last[1] < _LINE_EVERY_S:
            return
        last[:] = [done, now]
        sys.stderr.write(f"{title} {done}/{total} {text}\n")
        sys.stderr.flush()

    return line
