"""Links, anchors, file names and function names in the documentation exist."""

import ast
import re
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

from sisu_pipeline.settings import PROJECT_ROOT, Settings
from tests.docs_generators.markdown import DOCS
from tests.docs_generators.markdown_page import MarkdownPage

PAGES = sorted([*PROJECT_ROOT.glob("*.md"), *DOCS.rglob("*.md")])
# Paths in code spans are relative to the checkout or to the product package.
_PREFIXES = (PROJECT_ROOT, PROJECT_ROOT / "sisu_pipeline")
_CODE_REFERENCE = re.compile(r"([\w.-]+/[\w./-]*\.(?:py|sql|md|json|yaml))(?::([\w.]+))?")
_SETTING = re.compile(r"\b(?:SISU|SBX|OC|DBOS_|INTENT_QUEUE|SBX_QUEUE|HITL|E2B|CHAOS)_[A-Z_0-9]+[A-Z]\b")
# The setting that docs/extending.md adds.
_ADDED = {"SBX_DEFAULT_GPU"}
# Names to fill in, such as `sql/oracle/NNN_what_it_states.sql`.
_PLACEHOLDER = re.compile(r"NNN|FILE")
# The guide that this project implements, word for word: its paths belong to another project.
_FOREIGN = {DOCS / "operator-guide.md"}


def _name(page: Path) -> str:
    return str(page.relative_to(PROJECT_ROOT))


pages = pytest.mark.parametrize("page", PAGES, ids=_name)


@pages
def test_every_relative_link_and_anchor_resolves(page: Path) -> None:
    broken = [link for link in MarkdownPage(page).links if "://" not in link and not _resolves(page, link)]
    assert broken == []


@pages
def test_every_file_and_function_named_in_a_code_span_exists(page: Path) -> None:
    if page in _FOREIGN:
        return
    named = (span for span in MarkdownPage(page).code_spans if not _PLACEHOLDER.search(span))
    spans = map(_CODE_REFERENCE.fullmatch, named)
    missing = [found[0] for found in spans if found and not _exists(found[1], found[2])]
    assert missing == []


@pages
def test_every_setting_named_exists(page: Path) -> None:
    named = set(_SETTING.findall(page.read_text())) - _ADDED
    assert {name for name in named if name.lower() not in Settings.model_fields} == set()


def test_every_page_is_listed_in_the_index() -> None:
    index = DOCS / "index.md"
    listed = {(index.parent / link.partition("#")[0]).resolve() for link in MarkdownPage(index).links}
    assert set(PAGES) - {index} <= listed


def _resolves(page: Path, link: str) -> bool:
    target, _, fragment = link.partition("#")
    path = (page.parent / target).resolve() if target else page
    if not path.exists():
        return False
    return not fragment or (path.suffix == ".md" and fragment in MarkdownPage(path).anchors)


def _exists(path: str, function: str | None) -> bool:
    files = [prefix / path for prefix in _PREFIXES if (prefix / path).is_file()]
    return bool(files) and (function is None or function in chain.from_iterable(map(_names, files)))


@cache
def _names(path: Path) -> frozenset[str]:
    """The functions and classes of a module, methods with and without their class."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
    return frozenset(names)
