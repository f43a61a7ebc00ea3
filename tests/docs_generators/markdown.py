"""Markdown tables, and the pages that are generated."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sisu_pipeline.settings import PROJECT_ROOT

DOCS = PROJECT_ROOT / "docs"
NOTHING = "–"


@dataclass(frozen=True)
class GeneratedPage:
    """A page of `docs/` and the function that generates its text."""

    name: str
    text: Callable[[], str]

    def read(self) -> str:
        """The page as it is committed."""
        return (DOCS / self.name).read_text()

    def write(self) -> None:
        """Rewrite the page."""
        (DOCS / self.name).write_text(self.text())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with these column titles; an empty cell shows a dash."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines) + "\n"


def code(text: str) -> str:
    """Text in a code span."""
    return f"`{text}`"


def anchor(title: str) -> str:
    """The anchor that GitHub gives to a heading."""
    kept = "".join(letter for letter in title.lower() if letter.isalnum() or letter in " -_")
    return kept.replace(" ", "-")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|") or NOTHING
