"""What people read is plain English and cites only what they can open."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sisu_pipeline.settings import PROJECT_ROOT
from tests.docs_generators.api_page import api
from tests.docs_generators.cli_tree import every_command
from tests.docs_generators.markdown import DOCS
from tests.docs_generators.markdown_page import MarkdownPage

FOLDERS = ("docs", "sisu_pipeline", "resources", "sensors", "sql", "tests")
TEXT = {".css", ".html", ".js", ".json", ".md", ".py", ".sql", ".svg"}
CITATION = re.compile("(design|reference|seed) \u00a7|quirks? N[0-9]|issue [0-9]+")

# Word for word from elsewhere.
_VERBATIM = {DOCS / "operator-guide.md"}
PAGES = [path for path in [PROJECT_ROOT / "README.md", *sorted(DOCS.rglob("*.md"))] if path not in _VERBATIM]
# Each with what to write instead.
DIALECT = {
    r"says?|said|saying|tells?|told|telling|hears?|heard|speaks?|spoke": "record, report, return, notify, read",
    r"asks? for|asked for|asking for": "request, enqueue, require",
    r"in vain": "without effect; enqueued but never claimed",
    r"lets? go|letting go|gives? back|gave back|given back|takes? back|taken back": "release, requeue, roll back",
    r"ties up|tied up|tying up": "clean up",
    r"somebody|nobody|anybody|everybody|whoever|whomever": "a worker, no worker, the caller",
    r"(?<!there )(?:is|are|was|were) (?:none|no(?! longer))": "unknown X, not an X, lacks an X",
    r"(?:has|have) not (?:the|an?|any)": "lacks",
    r"(?:is|are) kept|stands?|holds good": "is stored, is final, holds",
    r"go on|goes on|went on|gone on": "continue",
}


def _descriptions(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Every description and summary of an OpenAPI document, with its place."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        if key in ("description", "summary") and isinstance(member, str):
            yield place, member
        yield from _descriptions(member, f"{place}/{key}")


def _files() -> Iterator[Path]:
    yield PROJECT_ROOT / "README.md"
    for folder in FOLDERS:
        yield from (path for path in sorted((PROJECT_ROOT / folder).rglob("*")) if path.suffix in TEXT)


def _dialect(text: str) -> list[str]:
    return [
        f"…{text[max(0, found.start() - 40) : found.end() + 30]!r}: write {instead}"
        for phrase, instead in DIALECT.items()
        for found in re.finditer(rf"\b(?:{phrase})\b", text, re.IGNORECASE)
    ]


def test_nothing_cites_a_document_outside_the_repository() -> None:
    cited = {
        f"{path.relative_to(PROJECT_ROOT)}:{number}"
        for path in _files()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if CITATION.search(line)
    }
    assert cited == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT_ROOT)))
def test_a_page_is_plain_english(page: Path) -> None:
    assert _dialect(" ".join(MarkdownPage(page).prose.split())) == []


def test_the_help_of_every_command_is_plain_english() -> None:
    helps = [each for command in every_command() for each in command.helps]
    assert [f"{name}: {each}" for name, text in helps for each in _dialect(text)] == []


def test_every_command_and_option_has_help() -> None:
    assert [name for command in every_command() for name, text in command.helps if not text] == []


def test_the_openapi_descriptions_are_plain_english() -> None:
    document = api().openapi()
    assert [f"{place}: {each}" for place, text in _descriptions(document) for each in _dialect(text)] == []
