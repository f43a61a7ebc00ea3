"""The tables of private API in the READMEs of `engine/` and `queueing/`, as data."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sisu_pipeline.settings import PROJECT_ROOT

READMES = ("sisu_pipeline/engine/README.md", "sisu_pipeline/queueing/README.md")
COLUMNS = 5


@dataclass(frozen=True)
class Row:
    """A row: its symbols, the files that use them, and the tests that guard them."""

    symbols: tuple[str, ...]
    files: frozenset[str]
    guards: tuple[str, ...]


def rows(readme: str) -> Iterator[Row]:
    """The rows of every table whose first column is named `symbol`."""
    folder = readme.rpartition("/")[0]
    for table in re.findall(r"^\| symbol \|.*\n(?:\|.*\n?)+", (PROJECT_ROOT / readme).read_text(), re.MULTILINE):
        for line in table.splitlines()[2:]:
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            assert len(cells) == COLUMNS, f"{readme}: a row needs {COLUMNS} cells: {line}"
            files = frozenset(name if "/" in name else f"{folder}/{name}" for name in _code(cells[1]))
            yield Row(tuple(_in_full(_code(cells[0]))), files, tuple(_code(cells[3])))


def _in_full(names: list[str]) -> Iterator[str]:
    """Dotted names; `.member` continues the last one that does not begin with a dot."""
    owner = ""
    for name in names:
        if not name.startswith("."):
            owner = name
        yield f"{owner}{name}" if name.startswith(".") else name


def _code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)
