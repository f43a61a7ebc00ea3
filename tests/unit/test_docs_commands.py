"""Every command line in the documentation exists: commands, options, values, targets, modules, test files."""

import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from sisu_pipeline.settings import PROJECT_ROOT
from tests.docs_generators.cli_tree import sisu
from tests.docs_generators.markdown import DOCS
from tests.docs_generators.markdown_page import MarkdownPage

SHELL = {"bash", "sh"}
# The changelog names commands of earlier versions.
_HISTORY = {PROJECT_ROOT / "CHANGELOG.md"}
PAGES = sorted({*PROJECT_ROOT.glob("*.md"), *DOCS.rglob("*.md")} - _HISTORY)
MAKE_TARGETS = set(re.findall(r"^([a-z][a-z0-9-]*):", (PROJECT_ROOT / "Makefile").read_text(), re.MULTILINE))
MISE_TASKS = set(tomllib.loads((PROJECT_ROOT / "mise.toml").read_text())["tasks"])
_SEPARATORS = {"&&", "||", "|", ";", "&"}


def command_lines(page: Path) -> Iterator[list[str]]:
    """The words of every command in shell blocks and code spans, without variables in front of it."""
    content = MarkdownPage(page)
    lines = [line for block in content.blocks if block.language in SHELL for line in block.text.splitlines()]
    for line in [*lines, *content.code_spans]:
        yield from _commands(line)


def _commands(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:  # a span that is not shell, such as one with an apostrophe
        return
    command: list[str] = []
    for word in [*words, ";"]:
        if word in _SEPARATORS:
            if command:
                yield command
            command = []
        elif command or not re.match(r"\w+=", word):
            command.append(word.removeprefix(".venv/bin/") if not command else word)


def faults(command: list[str]) -> list[str]:
    """Why a command line cannot be typed; empty when it can, and for programs of other projects."""
    program, *arguments = command
    words = [word for word in arguments if not word.startswith("-") and "=" not in word]
    match program:
        case "sisu":
            return sisu().faults(arguments)
        case "make":
            return [f"unknown target: make {word}" for word in words if word not in MAKE_TARGETS | {"…"}]
        case "mise" if words[:1] == ["run"]:
            return [f"unknown task: mise run {word}" for word in words[1:2] if word not in MISE_TASKS]
        case "pytest":
            return [f"no such file: {word}" for word in words if "/" in word and not (PROJECT_ROOT / word).exists()]
        case "python" if arguments[:1] == ["-m"]:
            return [] if importlib.util.find_spec(arguments[1]) else [f"no such module: {arguments[1]}"]
        case _:
            return []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT_ROOT)))
def test_every_command_line_of_a_page_exists(page: Path) -> None:
    assert [fault for command in command_lines(page) for fault in faults(command)] == []


def test_the_check_reads_commands_at_all() -> None:
    programs = {command[0] for page in PAGES for command in command_lines(page)}
    assert {"sisu", "make", "mise", "pytest", "python"} <= programs


@pytest.mark.parametrize(
    "line",
    [
        "sisu frobnicate",
        "sisu run frobnicate",
        "sisu run show RUN RUN",
        "sisu run show RUN --frobnicate",
        "sisu worker --queue frobnicateQ",
        "sisu lab cuts --count",
        "make frobnicate",
        "mise run frobnicate",
        "pytest tests/frobnicate",
        "python -m tests.frobnicate",
    ],
)
def test_a_command_that_does_not_exist_is_found(line: str) -> None:
    assert [fault for command in _commands(line) for fault in faults(command)]
