"""Readers of our own source. Each finds one thing that a policy forbids outside named places.

A finder returns (line, what) pairs for one module. Names are resolved through the module's imports and assignments:
`import os as o; o.environ`, `getattr(os, "environ")` and `__import__("os").environ` are all `os.environ`.
`tests/unit/test_policy_gates.py` lists where each thing may be found, and `test_policy_gate_finders.py` proves each
finder. They catch mistakes, not intent: code that a program computes and native code can do anything.
"""

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests import sql_gates

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("sisu_pipeline", "resources", "sensors", "sql")

Found = Iterator[tuple[int, str]]
Finder = Callable[["Module"], Found]
Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """A source file: its path from the project's root, and its syntax tree."""

    path: str
    tree: ast.Module

    @property
    def name(self) -> str:
        """Its import name."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def nodes(self) -> Iterator[ast.AST]:
        """Every node of the tree."""
        return ast.walk(self.tree)

    @cached_property
    def names(self) -> "Names":
        """What the names of this module stand for."""
        return Names(self)


class Names:
    """The meanings of a module's names, wherever in the module they are bound: a superset of those at one place."""

    def __init__(self, module: Module) -> None:
        self._imported: dict[str, set[str]] = {}
        self._assigned: dict[str, list[ast.expr]] = {}
        self._stars: list[str] = []
        for _, name, alias in _bindings(module):
            if alias == "*":
                self._stars.append(name.removesuffix(".*"))
            else:
                self._imported.setdefault(alias, set()).add(name)
        for node in module.nodes:
            for target, value in _assignments(node):
                self._assigned.setdefault(target, []).append(value)

    def of(self, node: ast.AST) -> set[str]:
        """The dotted names that an expression may stand for; the result of a call is the callee's with `()`."""
        return self._of(node, frozenset())

    def _of(self, node: ast.AST, seen: frozenset[str]) -> set[str]:
        if isinstance(node, ast.Name):
            return self._of_name(node.id, seen)
        if isinstance(node, ast.Attribute):
            return {f"{base}.{node.attr}" for base in self._of(node.value, seen)}
        if isinstance(node, ast.Call):
            return self._of_call(node, seen)
        if isinstance(node, ast.Subscript):
            return self._of_item(node, seen)
        if isinstance(node, ast.NamedExpr | ast.Await | ast.Starred):
            return self._of(node.value, seen)
        if isinstance(node, ast.IfExp):
            return self._of(node.body, seen) | self._of(node.orelse, seen)
        if isinstance(node, ast.BoolOp):
            return {name for value in node.values for name in self._of(value, seen)}
        return set()

    def _of_name(self, name: str, seen: frozenset[str]) -> set[str]:
        if name in seen:
            return set()
        assigned = {found for value in self._assigned.get(name, ()) for found in self._of(value, seen | {name})}
        known = self._imported.get(name, set()) | assigned
        return known or {name, *(f"{package}.{name}" for package in self._stars)}

    def _of_call(self, node: ast.Call, seen: frozenset[str]) -> set[str]:
        called = self._of(node.func, seen)
        text = [constant_text(argument) for argument in node.args]
        if called & {"getattr", "builtins.getattr"} and len(text) > 1 and text[1] is not None:
            return {f"{base}.{text[1]}" for base in self._of(node.args[0], seen)}
        if called & _IMPORTERS and text and text[0] is not None:
            return {text[0]}
        if called & {"vars", "builtins.vars"} and node.args:
            return {f"{base}.__dict__" for base in self._of(node.args[0], seen)}
        return {f"{name}()" for name in called}

    def _of_item(self, node: ast.Subscript, seen: frozenset[str]) -> set[str]:
        item = constant_text(node.slice)
        if item is None:
            return set()
        bases = self._of(node.value, seen)
        modules = {item} if "sys.modules" in bases else set()
        return modules | {
            f"{base.removesuffix('.__dict__')}.{item}" for base in bases if base.endswith(".__dict__")
        }


_IMPORTERS = {"__import__", "builtins.__import__", "importlib.import_module", "importlib.__import__"}


def a_module(text: str, path: str = "sisu_pipeline/example.py") -> Module:
    """A module of this text."""
    return Module(path, ast.parse(text))


def project() -> list[Module]:
    """Every module of our packages."""
    paths = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return [a_module(path.read_text(), path.relative_to(ROOT).as_posix()) for path in paths]


def under(path: str, places: Iterable[str]) -> bool:
    """Whether a path is one of the places, or lies in one that ends with a slash."""
    return any(path == place or (place.endswith("/") and path.startswith(place)) for place in places)


def breaches(modules: Iterable[Module], finder: Finder, allowed: Iterable[str] = ()) -> list[str]:
    """What the finder finds outside the allowed places, as `path:line what`."""
    places = list(allowed)
    return [
        f"{module.path}:{line} {what}"
        for module in modules
        if not under(module.path, places)
        for line, what in finder(module)
    ]


def imports(module: Module) -> Found:
    """Every imported name in full: `from a import b` is `a.b`, and so is `importlib.import_module("a.b")`."""
    yield from ((line, name) for line, name, _ in _bindings(module))
    for node in module.nodes:
        if isinstance(node, ast.Call) and node.args and module.names.of(node.func) & _IMPORTERS:
            name = constant_text(node.args[0])
            yield node.lineno, f"{ast.unparse(node.args[0])} (computed)" if name is None else name


def uses(module: Module) -> Found:
    """Every expression that stands for a dotted name, under each name it may stand for."""
    for node in module.nodes:
        if isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.Subscript):
            yield from ((node.lineno, name) for name in sorted(module.names.of(node)) if not name.endswith("()"))


def imports_beyond(*packages: str) -> Finder:
    """Imports of anything but these packages."""

    def find(module: Module) -> Found:
        return ((line, name) for line, name in imports(module) if not _is_in(name, packages))

    return find


def calls_of(*names: str) -> Finder:
    """Calls of these built-in functions."""
    qualified = {*names, *(f"builtins.{name}" for name in names)}

    def find(module: Module) -> Found:
        for node in module.nodes:
            if isinstance(node, ast.Call):
                yield from ((node.lineno, f"{name}()") for name in sorted(module.names.of(node.func) & qualified))

    return find


def clock_or_randomness(module: Module) -> Found:
    """Anything that differs from call to call: clocks, random numbers, fresh ids."""
    yield from _found(module, imports=r"(time|random|uuid|secrets)(\..+)?|os\.(urandom|getrandom|times)")
    yield from _found(
        module, uses=r"(.*\.)?os\.(urandom|getrandom|times)|(.*\.)?(datetime|date|dt)\.(now|utcnow|today)"
    )
    for node in module.nodes:  # an event loop's own clock
        if isinstance(node, ast.Call) and not node.args and _attribute(node.func) == "time":
            yield node.lineno, ast.unparse(node)


_FAMILIES = {"OperationalError", "InterfaceError"}


def exception_families(module: Module) -> Found:
    """Handlers that take a family of a database driver's errors for one kind of failure."""
    for node in module.nodes:
        if isinstance(node, ast.ExceptHandler) and node.type is not None:
            caught: list[ast.expr] = [node.type]
        elif isinstance(node, ast.Call) and _last_name(node.func) == "suppress":
            caught = node.args
        else:
            continue
        for each in (inner for outer in caught for inner in ast.walk(outer)):
            if isinstance(each, ast.expr) and _last_name(each) in _FAMILIES:
                yield each.lineno, ast.unparse(each)


_STARTS = (
    r"(os|posix)\.(fork|forkpty|system|popen|posix_spawnp?|(spawn|exec)[lv]p?e?)|"
    r"asyncio\.(subprocess\.)?create_subprocess_\w+"
)


def process_starts(module: Module) -> Found:
    """Means to start another process."""
    modules = r"(subprocess|multiprocessing|pty|posix|_posixsubprocess|asyncio\.subprocess)(\..+)?"
    yield from _found(module, imports=rf"{modules}|concurrent\.futures\.(process.*|ProcessPoolExecutor)|{_STARTS}")
    yield from _found(module, uses=rf"{_STARTS}|.*\.subprocess_(exec|shell)")


def native_code(module: Module) -> Found:
    """Native code by way of a foreign function interface: no finder sees what it does."""
    yield from _found(module, imports=r"(_?ctypes|cffi)(\..+)?")


def environment_reads(module: Module) -> Found:
    """Reads or writes of the process's environment."""
    names = r"(os|posix)\.(environb?|getenvb?|putenv|unsetenv)"
    yield from _found(module, imports=names, uses=names)
    for line, text in texts(module):
        if re.search(r"/proc/[^/]+/environ", text):
            yield line, text


def enqueues(module: Module) -> Found:
    """Means to put work on a DBOS queue, or to start it without one. A function of our own modules is not one."""
    verb = re.compile(
        r".*\.(enqueue(_\w+)?|start_workflow(_async)?|insert_workflow_status|init_workflows?)|(.*\.)?build_enqueue_status"
    )
    for node in module.nodes:
        if isinstance(node, ast.Name | ast.Attribute | ast.Call):
            names = sorted(name for name in module.names.of(node) if verb.fullmatch(name))
            is_ours = any(_is_in(name, PACKAGES) and "()" not in name for name in names)
            yield from ((node.lineno, name) for name in names if not is_ours)


def queue_names_enqueued(module: Module) -> Found:
    """The queue an enqueue names: the value of `"queue_name"` in a dictionary."""
    for node in module.nodes:
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "queue_name":
                    yield value.lineno, ast.unparse(value)


def mentions_of(text: str) -> Finder:
    """String constants equal to a text, such as the name of a statement."""
    return lambda module: ((line, found) for line, found in texts(module) if found == text)


def sql_in_python(module: Module) -> Found:
    """SQL that is not loaded from a file: statements in string constants, whole or in pieces."""
    executed = {id(text) for call in _executions(module) for text in _arguments(call)}
    documentation = {id(text) for text in _docstrings(module.tree)}
    for node in module.nodes:
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in documentation:
            continue
        if (id(node) in executed and " " in node.value) or sql_gates.is_statement(node.value):
            yield node.lineno, node.value.split("\n")[0][:60]


def built_where_executed(module: Module) -> Found:
    """An executed text that Python composes, there or in a variable: f-string, `%`, `+`, `.format`, `.join`."""
    for scope in _scopes(module.tree):
        variables: dict[str, list[ast.expr]] = {}
        for node in _own_nodes(scope):
            for name, value in _assignments(node):
                variables.setdefault(name, []).append(value)
        for node in _own_nodes(scope):
            if isinstance(node, ast.Call) and _is_execution(node):
                for text in _arguments(node):
                    values = variables.get(text.id, []) if isinstance(text, ast.Name) else [text]
                    if any(_is_built(value) for value in values):
                        yield node.lineno, ast.unparse(text)[:60]


def texts(module: Module) -> Found:
    """Every string constant that documents nothing, pieces of a sum put together."""
    documentation = {id(text) for text in _docstrings(module.tree)}
    for node in module.nodes:
        if id(node) not in documentation and isinstance(node, ast.Constant | ast.BinOp):
            text = constant_text(node)
            if text is not None:
                yield node.lineno, text


def constant_text(node: ast.AST) -> str | None:
    """The text of an expression that consists of constants; None for any other."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = constant_text(node.left), constant_text(node.right)
        return None if left is None or right is None else left + right
    if isinstance(node, ast.JoinedStr) and all(isinstance(part, ast.Constant) for part in node.values):
        return "".join(constant_text(part) or "" for part in node.values)
    return None


def _found(module: Module, *, imports: str = "", uses: str = "") -> Found:
    for pattern, find in ((imports, _imports), (uses, _uses)):
        yield from ((line, name) for line, name in find(module) if pattern and re.fullmatch(pattern, name))


_imports, _uses = imports, uses


def _bindings(module: Module) -> Iterator[tuple[int, str, str]]:
    """Every import statement's (line, full name, local name). A relative import is spelled out."""
    for node in module.nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, alias.asname or alias.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom):
            package = module.name.split(".")[: -node.level] if node.level else []
            base = ".".join([*package, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}", alias.asname or alias.name


def _assignments(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """The names that a node binds, with their values."""
    if isinstance(node, ast.Assign):
        targets: list[ast.expr] = node.targets
    elif isinstance(node, ast.AnnAssign | ast.NamedExpr | ast.AugAssign):
        targets = [node.target]
    else:
        return
    if isinstance(node, ast.AugAssign):
        # `text += more` is built, whatever it was.
        value: ast.expr | None = ast.BinOp(node.target, node.op, node.value)
    else:
        value = node.value
    for target in targets:
        if isinstance(target, ast.Name) and value is not None:
            yield target.id, value
        elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs = zip(target.elts, value.elts, strict=False)
            yield from ((name.id, each) for name, each in pairs if isinstance(name, ast.Name))


def _scopes(tree: ast.Module) -> Iterator[Scope]:
    yield from (node for node in ast.walk(tree) if isinstance(node, Scope))


def _own_nodes(scope: Scope) -> Iterator[ast.AST]:
    """The nodes of a scope without those of the functions in it."""
    todo: list[ast.AST] = list(scope.body)
    while todo:
        node = todo.pop()
        if not isinstance(node, Scope):
            yield node
            todo.extend(ast.iter_child_nodes(node))


def _executions(module: Module) -> Iterator[ast.Call]:
    return (node for node in module.nodes if isinstance(node, ast.Call) and _is_execution(node))


def _is_execution(node: ast.Call) -> bool:
    return _attribute(node.func) in ("execute", "executemany", "stream", "copy", "SQL")


def _arguments(call: ast.Call) -> list[ast.expr]:
    """The first argument of a call, by place or by name."""
    return [*call.args[:1], *(keyword.value for keyword in call.keywords if keyword.arg in ("query", "statement"))]


def _is_in(name: str, packages: Iterable[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _last_name(node: ast.AST) -> str | None:
    return node.id if isinstance(node, ast.Name) else _attribute(node)


def _attribute(node: ast.AST) -> str | None:
    return node.attr if isinstance(node, ast.Attribute) else None


def _is_built(node: ast.AST) -> bool:
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) for part in node.values)
    if isinstance(node, ast.BinOp):
        return constant_text(node) is None
    if isinstance(node, ast.Call) and _attribute(node.func) in ("format", "join", "replace"):
        # psycopg.sql composes safely: `sql.SQL("…").format(sql.Identifier(…))`.
        receiver = node.func.value if isinstance(node.func, ast.Attribute) else node.func
        return not (isinstance(receiver, ast.Call) and _attribute(receiver.func) == "SQL")
    return False


def _docstrings(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                yield first.value
