"""The commands that messages, hints, help texts and pages of the product name, found in its source."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from sisu_pipeline.settings import PROJECT_ROOT, Settings
from tests.docs_generators.cli_tree import CliCommand, sisu

PACKAGES = ("sisu_pipeline", "resources", "sensors")
GAP = "…"
"""What stands for a part of a message that is computed."""

_PROGRAM = re.compile(r"(?<![\w/.])(?P<variables>(?:[A-Z][A-Z0-9_]+=\S+ )*)sisu (?=(?P<rest>[a-z-][^`\n]*))")
_MAKE = re.compile(r"`make (?P<target>[a-z-]+)`")
_SETTING = re.compile(r"(?<![\w$])(?P<name>[A-Z][A-Z0-9_]+)=(?P<value>[\w.:/-]+|…)")
_JAVASCRIPT_GAP = re.compile(r"\$\{[^}]*\}")
_WORD = re.compile(r"[\w…@|./:-]+$")
_AFTER = ".,;:)"
_OPTION = re.compile(r"--[a-z-]+$")


def commands() -> dict[str, set[str]]:
    """Every named command with the files that name it; computed parts and values are an ellipsis."""
    found: dict[str, set[str]] = {}
    for file, text in _texts():
        for command in _commands_of(text):
            found.setdefault(command, set()).add(file)
    return found


def settings() -> dict[str, set[str]]:
    """Every setting with a value that a message names, with the files that name it."""
    found: dict[str, set[str]] = {}
    for file, text in _texts():
        for match in _SETTING.finditer(text):
            if match["name"].lower() in Settings.model_fields and match["value"] != GAP:
                found.setdefault(f"{match['name']}={match['value'].rstrip('.:')}", set()).add(file)
    return found


def _commands_of(text: str) -> Iterator[str]:
    for match in _PROGRAM.finditer(text):
        words = _words(match["rest"])
        if words:
            variables = re.sub(r"=\S+", f"={GAP}", match["variables"])
            yield f"{variables}sisu {' '.join(words)}"
    for match in _MAKE.finditer(text):
        yield f"make {match['target']}"


def _words(rest: str) -> list[str]:
    """The words of a command at the beginning of a text, up to its first word that is prose."""
    words: list[str] = []
    command, given = sisu(), rest.split()
    while given and given[0].rstrip(_AFTER) in command.subcommands:
        command, words = command.subcommands[given[0].rstrip(_AFTER)], [*words, given[0].rstrip(_AFTER)]
        if given.pop(0)[-1] in _AFTER:
            return words
    if not words:
        return given[:1] if given and given[0].startswith("--") else []
    return words if command.subcommands else [*words, *_arguments(command, given)]


def _arguments(command: CliCommand, given: list[str]) -> Iterator[str]:
    flags = {name for each in command.command.params for name in each.opts if getattr(each, "is_flag", False)}
    is_value = False
    for word in (each.strip("'\"") for each in given):
        plain = word.rstrip(_AFTER)
        if _OPTION.match(plain):
            yield plain
            is_value = plain not in {*flags, "--help"}
        elif _WORD.match(plain) and (is_value or GAP in plain or plain == "-" or plain.isupper()):
            yield plain if is_value and GAP not in plain and not plain[0].isdigit() else GAP
            is_value = False
        else:
            return
        if plain != word:
            return


def _texts() -> Iterator[tuple[str, str]]:
    """The texts of the product that people may read, each with its file."""
    for package in PACKAGES:
        for path in sorted((PROJECT_ROOT / package).rglob("*.py")):
            yield from ((_name(path), text) for text in _literals(ast.parse(path.read_text())))
    for path in sorted((PROJECT_ROOT / "sisu_pipeline").rglob("*.*")):
        if path.suffix in {".html", ".js"}:
            yield _name(path), _JAVASCRIPT_GAP.sub(GAP, path.read_text()).replace("\\n", "\n")
    for path in sorted((PROJECT_ROOT / "sql").rglob("*.sql")):
        yield _name(path), re.sub(r"--.*", "", path.read_text())


def _literals(tree: ast.Module) -> Iterator[str]:
    """The texts of a module, without docstrings of what is no command; adjacent parts of one text are joined."""
    hidden = _docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            hidden |= {id(part) for part in node.values}
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in hidden:
            yield node.value


def _docstrings(tree: ast.Module) -> set[int]:
    found: set[int] = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list) or not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            continue
        is_help = isinstance(node, ast.FunctionDef) and bool(node.decorator_list)
        found |= {
            id(each.value)
            for each in body
            if not is_help and isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant)
        }
    return found


def _name(path: Path) -> str:
    return str(path.relative_to(PROJECT_ROOT))
