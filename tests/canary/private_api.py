"""A scan of our packages for private API: imports, members, patched names, tables, class names in `dagster.yaml`.

A symbol is private when a part of its dotted name starts with an underscore, when its package documents no Python
API for it (`UNDOCUMENTED`), or when a class of ours overrides or uses it as a member of such a class. Members of
an object are found where the code states the object's type: by an annotation, or by a name in `RESULTS`.
"""

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache, cached_property
from pathlib import Path
from types import ModuleType

import dagster
import yaml
from dagster._annotations import is_public

from sisu_pipeline.engine.dagster_storage import SCHEMA_CHECKS
from sisu_pipeline.settings import PROJECT_ROOT

OURS = ("sisu_pipeline", "resources", "sensors", "sql")
TABLE = re.compile(r"\b(?:dagster|dbos)\.[a-z_]+\b")

UNDOCUMENTED = {
    "dagster_graphql",
    "dagster_postgres",
    "dagster_shared",
    "dagster_webserver",
    "fastapi.routing.APIRoute.path_regex",
}
"""Packages whose documentation covers commands and configuration, not Python classes."""

DOCUMENTED = {"dagster.SensorEvaluationContext.log"}
"""Members that Dagster's documentation uses without marking them as public."""

RESULTS = {
    "_get_dbos_instance": "dbos._dbos.DBOS",
    "client": "dbos.DBOSClient",
    "get_run_by_id": "dagster.DagsterRun",
    "instance": "dagster.DagsterInstance",
    "execution_plan.start": "dagster._core.execution.plan.active.ActiveExecution",
}
"""The class of a call's result, by the end of the function's name, where our code does not state it."""

MEMBERS = {
    "_active_workflows_set": ("dbos._dbos.DBOS", "dbos._core.ActiveWorkflowById"),
    "_engine": ("dagster_postgres.PostgresEventLogStorage", None),
    "_instance": ("dagster._core.launcher.base.RunLauncher", "dagster.DagsterInstance"),
    "_pre_ping": ("sqlalchemy.pool.Pool", None),
    "_replace": ("dagster.DagsterEvent", None),
    "_sys_db": ("dbos._dbos.DBOS", "dbos._sys_db.SystemDatabase"),
}
"""A private member's class, where the code does not state it, and the class of its value."""


_ITEMS = "items of "
_CONTAINERS = ("Collection", "Iterable", "Iterator", "Sequence", "list", "set")
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True, order=True)
class Use:
    """A private symbol by its dotted name, and the file that uses it, from the project's root."""

    symbol: str
    path: str


def uses() -> frozenset[Use]:
    """Every use of private API in our packages and configuration."""
    return python_uses() | class_names() | tables()


@cache
def python_uses() -> frozenset[Use]:
    """Private symbols that Python modules import, call, override or patch."""
    paths = sorted(path for package in OURS for path in (PROJECT_ROOT / package).rglob("*.py"))
    found = {use for path in paths for use in uses_in(_relative(path), path.read_text())}
    storage = "sisu_pipeline/engine/dagster_storage.py"
    patched = {Use(f"{_name(cls)}.{name}", storage) for cls, names in SCHEMA_CHECKS.items() for name in names}
    return frozenset(found | patched)


def uses_in(path: str, text: str) -> set[Use]:
    """Private symbols in a module's text; the module is imported when a class of it has a foreign parent."""
    return set(_Scan(path, text).uses())


@cache
def class_names() -> frozenset[Use]:
    """Classes of Dagster that a `dagster.yaml` names."""
    found = set()
    for path in sorted((PROJECT_ROOT / "dagster_home").rglob("dagster.yaml")):
        for section in yaml.safe_load(path.read_text()).values():
            if isinstance(section, dict) and str(section.get("module", "")).startswith("dagster._"):
                found.add(Use(f"{section['module']}.{section['class']}", _relative(path)))
    return frozenset(found)


@cache
def tables() -> frozenset[Use]:
    """Tables of Dagster and DBOS that SQL files, or the names in Python code, mention; by folder for SQL."""
    found = set()
    for path in sorted((PROJECT_ROOT / "sql").rglob("*.sql")):
        statements = re.sub(r"--.*", "", path.read_text())
        found |= {Use(name, f"{_relative(path.parent)}/") for name in TABLE.findall(statements)}
    for path in sorted((PROJECT_ROOT / "sisu_pipeline").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and TABLE.fullmatch(node.value):
                found.add(Use(node.value, _relative(path)))
    return frozenset(found)


def resolve(symbol: str) -> tuple[object, str]:
    """The module or class that holds a symbol, and the symbol's last name. Raises ImportError or AttributeError."""
    owner: object
    parts = symbol.split(".")
    for end in range(len(parts) - 1, 0, -1):
        try:
            owner = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:-1]:
            owner = getattr(owner, part)
        return owner, parts[-1]
    raise ImportError(symbol)


def declares(cls: type, name: str) -> bool:
    """Whether a class or a parent of it has a member of this name, in its body or assigned to `self`."""
    if hasattr(cls, name):
        return True
    for parent in cls.__mro__:
        if name in getattr(parent, "__annotations__", {}):
            return True
        if parent.__module__ != "builtins" and re.search(rf"\bself\.{name}\b.*=[^=]", _source(parent)):
            return True
    return False


class _Scan:
    """One module's imports, and the uses found in its syntax tree."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.tree = ast.parse(text)
        self.imported = dict(_imports(self.tree))
        self.defined = {function.name for function in _functions(self.tree)}

    def uses(self) -> Iterator[Use]:
        names = {name for name in self.imported.values() if _is_private(name) and not _is_module(name)}
        for function in [self.tree, *_functions(self.tree)]:
            names |= set(self._members(function))
        for node in self.tree.body:
            if isinstance(node, ast.ClassDef) and any(self._dotted(base) for base in node.bases):
                names |= set(self._inherited(node))
        return (Use(name, self.path) for name in names)

    def _members(self, scope: ast.AST) -> Iterator[str]:
        types = self._stated | dict(self._arguments(scope))
        types |= dict(self._assigned(scope, types))
        for node in _nodes(scope):
            if isinstance(node, ast.Attribute):
                owner = self._type(node.value, types) or self._dotted(node.value)
                if owner and _has_members(owner) and (_is_private(owner) or not _is_documented(owner, node.attr)):
                    yield f"{owner}.{node.attr}"
                elif _is_underscored(node.attr) and not self._is_own(node):
                    yield f"{owner or MEMBERS.get(node.attr, ('unknown', None))[0]}.{node.attr}"

    @cached_property
    def _stated(self) -> dict[str, str]:
        """Variables of the module, and `self.` members, with the class that the code states."""
        stated: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.AnnAssign):
                prefix = "" if node in self.tree.body else "self."
                target = f"{prefix}{ast.unparse(node.target)}".replace("self.self.", "self.")
                stated[target] = self._class(node.annotation)
            elif isinstance(node, ast.FunctionDef) and _decorated(node, "property", "cached_property"):
                stated[f"self.{node.name}"] = self._class(node.returns)
        return stated

    def _arguments(self, scope: ast.AST) -> Iterator[tuple[str, str]]:
        """Arguments of a function with their class."""
        if isinstance(scope, _FUNCTIONS):
            for argument in [*scope.args.args, *scope.args.kwonlyargs]:
                yield argument.arg, self._class(argument.annotation)

    def _assigned(self, scope: ast.AST, types: dict[str, str]) -> Iterator[tuple[str, str]]:
        """Variables of a scope that take a value of a known class: by assignment, `with` or a loop."""
        for node in _nodes(scope):
            if isinstance(node, ast.Assign):
                yield ast.unparse(node.targets[0]), self._type(node.value, types) or ""
            elif isinstance(node, ast.withitem) and node.optional_vars is not None:
                yield ast.unparse(node.optional_vars), self._type(node.context_expr, types) or ""
            elif isinstance(node, ast.For | ast.comprehension):
                items = self._type(node.iter, types) or ""
                yield ast.unparse(node.target), items.removeprefix(_ITEMS) if items.startswith(_ITEMS) else ""

    def _type(self, node: ast.AST, types: dict[str, str]) -> str | None:
        """The class of an expression's value, where it is known."""
        if isinstance(node, ast.Name | ast.Attribute) and types.get(ast.unparse(node)):
            return types[ast.unparse(node)]
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            return RESULTS.get(name) or RESULTS.get(name.rpartition(".")[2])
        if isinstance(node, ast.Attribute) and node.attr in MEMBERS:
            return MEMBERS[node.attr][1]
        return None

    def _class(self, annotation: ast.expr | None) -> str:
        """The class an annotation names; empty when it is not one of another package."""
        if isinstance(annotation, ast.BinOp):
            return self._class(annotation.left) or self._class(annotation.right)
        if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) in _CONTAINERS:
            item = self._class(annotation.slice)
            return f"{_ITEMS}{item}" if item else ""
        return (annotation and self._dotted(annotation)) or ""

    def _dotted(self, node: ast.AST) -> str | None:
        """The full name of an imported name, or of a member of an imported module."""
        if isinstance(node, ast.Subscript):
            return self._dotted(node.value)
        head, _, rest = (
            ast.unparse(node).partition(".") if isinstance(node, ast.Name | ast.Attribute) else ("", "", "")
        )
        if head not in self.imported:
            return None
        return f"{self.imported[head]}.{rest}" if rest else self.imported[head]

    def _is_own(self, node: ast.Attribute) -> bool:
        """Whether a private name is a member of our own class, or of a module of the standard library."""
        owner = ast.unparse(node.value)
        if owner in ("self", "cls"):
            return True  # those of a foreign parent are found by `_inherited`
        dotted = self._dotted(node.value) or ""
        return dotted.split(".")[0] in {*sys.stdlib_module_names, *OURS} or node.attr in self.defined

    def _inherited(self, node: ast.ClassDef) -> Iterator[str]:
        """Members of foreign parents that a class of ours overrides, uses or replaces."""
        module = importlib.import_module(self.path.removesuffix(".py").replace("/", "."))
        cls = getattr(module, node.name)
        methods = {child.name for child in node.body if isinstance(child, _FUNCTIONS)}
        accessed = {
            child.attr
            for child in ast.walk(node)
            if isinstance(child, ast.Attribute) and ast.unparse(child.value) in ("self", "cls", "super()")
        }
        for base in node.bases:
            parent = self._dotted(base)
            if parent is None or parent.split(".")[0] in {*sys.stdlib_module_names, *OURS, "pydantic"}:
                continue
            foreign = next(entry for entry in cls.__mro__[1:] if entry.__name__ == parent.rpartition(".")[2])
            for name in sorted(methods | accessed):
                member = f"{parent}.{name}"
                if not name.startswith("__") and declares(foreign, name):
                    yield from [member] * (_is_private(member) or member in UNDOCUMENTED)


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (alias.asname, alias.name) if alias.asname else (alias.name.split(".")[0],) * 2
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _is_private(name: str) -> bool:
    root, *rest = name.split(".")
    if root in OURS or root in sys.stdlib_module_names:
        return False
    return root in UNDOCUMENTED or any(_is_underscored(part) for part in rest)


def _is_underscored(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _is_module(name: str) -> bool:
    owner, last = resolve(name) if "." in name else (importlib.import_module(name), "__name__")
    return isinstance(getattr(owner, last, owner if "." not in name else None), ModuleType) or "." not in name


def _nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function with its nested functions, or of a module without its functions."""
    if not isinstance(scope, ast.Module):
        yield from ast.walk(scope)
        return
    todo: list[ast.AST] = [scope]
    while todo:
        node = todo.pop()
        yield node
        todo += [child for child in ast.iter_child_nodes(node) if not isinstance(child, _FUNCTIONS)]


def _functions(tree: ast.Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, _FUNCTIONS)]


def _decorated(node: ast.FunctionDef, *names: str) -> bool:
    return any(ast.unparse(decorator) in names for decorator in node.decorator_list)


def _has_members(name: str) -> bool:
    """Whether a name is a class or a module: a member of any other object belongs to that object's class."""
    if name.startswith(_ITEMS):
        return False
    owner, last = resolve(name) if "." in name else (importlib.import_module(name), "__dict__")
    return isinstance(getattr(owner, last, None), type | ModuleType) or "." not in name


def _is_documented(owner: str, member: str) -> bool:
    """Whether a member of a public class of Dagster is public too: marked so, or named by the class's docstring."""
    cls = getattr(dagster, owner.partition(".")[2], None) if owner.startswith("dagster.") else None
    if not isinstance(cls, type) or issubclass(cls, Enum) or member.startswith("__"):
        return True
    if f"{owner}.{member}" in DOCUMENTED:
        return True
    if is_public(inspect.getattr_static(cls, member, None)):
        return True
    field = next(
        (
            str(vars(parent)["__annotations__"][member])
            for parent in cls.__mro__
            if member in vars(parent).get("__annotations__", ())
        ),
        "",
    )
    return "PUBLIC" in field or bool(field and re.search(rf"^\s+{member} \(", cls.__doc__ or "", re.MULTILINE))


def _source(cls: type) -> str:
    try:
        return inspect.getsource(cls)
    except (OSError, TypeError):
        return ""


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__name__}"


def _relative(path: Path) -> str:
    return path.relative_to(PROJECT_ROOT).as_posix()


def by_symbol(found: Iterable[Use]) -> dict[str, set[str]]:
    """The files that use each symbol."""
    files: dict[str, set[str]] = {}
    for use in sorted(found):
        files.setdefault(use.symbol, set()).add(use.path)
    return files


if __name__ == "__main__":
    for symbol, files in by_symbol(uses()).items():
        print(symbol, *sorted(files))
