"""What the product imports is what `requirements.lock` installs: a developer's machine may have more."""

import ast
import re
import sys
from importlib.metadata import packages_distributions

from sisu_pipeline.settings import PROJECT_ROOT

_OPTIONAL = {"pydantic_ai"}
"""Packages of an extra; the module that imports them is loaded only by a setting that needs it."""

_OURS = ("sisu_pipeline", "resources", "sensors", "sql")


def test_every_import_is_installed_by_the_lock() -> None:
    known = packages_distributions()
    missing = {
        name
        for name in _imported() - set(sys.stdlib_module_names) - set(_OURS) - _OPTIONAL
        if not {_normal(distribution) for distribution in known.get(name, [name])} & _locked()
    }
    assert missing == set()


def _imported() -> set[str]:
    """The top-level names of every import in the product's packages."""
    names: set[str] = set()
    for package in _OURS:
        for path in (PROJECT_ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    names |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names.add(node.module.partition(".")[0])
    return names


def _locked() -> set[str]:
    text = (PROJECT_ROOT / "requirements.lock").read_text()
    return {_normal(name) for name in re.findall(r"^([A-Za-z0-9_.-]+)==", text, re.MULTILINE)}


def _normal(name: str) -> str:
    """PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()
