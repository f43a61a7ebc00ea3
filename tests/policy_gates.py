"""Small readers of our own source, each finding one thing that a policy of the seed forbids somewhere.

A finder returns (line, what) pairs for one module; `tests/unit/test_policy_gates.py` says where each may
be found and proves every finder on a bad and a good example.
"""

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("sisu_pipeline", "resources", "sensors", "sql")

Found = Iterator[tuple[int, str]]
Finder = Callable[["Module"], Found]


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
    """Every imported name in full: `from a import b` is `a.b`. A relative import is spelled out."""
    for node in module.nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module.name.split(".")[: -node.level] if node.level else []
            base = ".".join([*package, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def imports_of(*packages: str) -> Finder:
    """Imports of these packages or of anything in them."""

    def find(module: Module) -> Found:
        return ((line, name) for line, name in imports(module) if _is_in(name, packages))

    return find


def imports_beyond(*packages: str) -> Finder:
    """Imports of anything but these packages."""

    def find(module: Module) -> Found:
        return ((line, name) for line, name in imports(module) if not _is_in(name, packages))

    return find


def calls_of(*names: str) -> Finder:
    """Calls of these built-in functions."""

    def find(module: Module) -> Found:
        for node in module.nodes:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                yield node.lineno, f"{node.func.id}()"

    return find


def clock_or_randomness(module: Module) -> Found:
    """Anything that answers differently the next time: clocks, random numbers, fresh ids."""
    yield from imports_of("time", "random", "uuid", "secrets", "os.urandom", "os.getrandom")(module)
    for node in module.nodes:
        if not isinstance(node, ast.Attribute):
            continue
        owner = _last_name(node.value)
        if (owner == "os" and node.attr in ("urandom", "getrandom")) or (
            (owner in ("datetime", "date", "dt") and node.attr in ("now", "utcnow", "today"))
            # An event loop's own clock.
            or (isinstance(node.value, ast.Call) and node.attr == "time")
        ):
            yield node.lineno, f"{owner}.{node.attr}"


def process_starts(module: Module) -> Found:
    """Means to start another process."""
    yield from imports_of("subprocess", "multiprocessing", "pty", "concurrent.futures.ProcessPoolExecutor")(module)
    forbidden = re.compile(r"fork|forkpty|system|popen|posix_spawnp?|(spawn|exec)[lv]p?e?|create_subprocess_\w+")
    yield from imports_of("os.fork", "os.system", "os.popen", "os.posix_spawn", "os.execv", "os.execve")(module)
    for node in module.nodes:
        if not isinstance(node, ast.Attribute) or _last_name(node.value) not in ("os", "asyncio"):
            continue
        if forbidden.fullmatch(node.attr):
            yield node.lineno, node.attr


def environment_reads(module: Module) -> Found:
    """Reads or writes of the process's environment."""
    names = ("environ", "environb", "getenv", "getenvb", "putenv", "unsetenv")
    yield from imports_of(*(f"os.{name}" for name in names))(module)
    for node in module.nodes:
        if isinstance(node, ast.Attribute) and node.attr in names and _last_name(node.value) == "os":
            yield node.lineno, f"os.{node.attr}"


def enqueues(module: Module) -> Found:
    """Calls that put work on a DBOS queue, or start it without one. Calling our own modules is none."""
    ours = {name.rpartition(".")[2] for _, name in imports(module) if name.split(".")[0] in PACKAGES}
    verb = re.compile(
        r"enqueue(_\w+)?|start_workflow(_async)?|(build_enqueue|insert_workflow)_status|init_workflows?"
    )
    for node in module.nodes:
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        if isinstance(function, ast.Attribute) and verb.fullmatch(function.attr):
            if not (isinstance(function.value, ast.Name) and function.value.id in ours):
                yield node.lineno, f"{function.attr}()"
        elif isinstance(function, ast.Name) and re.fullmatch(r"build_enqueue_status", function.id):
            yield node.lineno, f"{function.id}()"


def queue_names_enqueued(module: Module) -> Found:
    """The queue an enqueue names: the value of `"queue_name"` in a dictionary."""
    for node in module.nodes:
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "queue_name":
                    yield value.lineno, ast.unparse(value)


def mentions_of(text: str) -> Finder:
    """String constants equal to a text, such as the name of a statement."""

    def find(module: Module) -> Found:
        for node in module.nodes:
            if isinstance(node, ast.Constant) and node.value == text:
                yield node.lineno, text

    return find


_STATEMENT = re.compile(
    r"\b(SELECT\s.+\sFROM|INSERT\s+INTO|UPDATE\s+\S+\s+SET|DELETE\s+FROM|TRUNCATE\s|"
    r"(CREATE|ALTER|DROP)\s+(TABLE|SCHEMA|DATABASE|INDEX|VIEW|FUNCTION|TRIGGER|ROLE)|LISTEN\s|NOTIFY\s)",
    re.DOTALL,
)


def sql_in_python(module: Module) -> Found:
    """SQL that is not loaded from a file: statements in string constants, whole or in pieces."""
    documentation = {id(text) for text in _docstrings(module.tree)}
    for node in module.nodes:
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in documentation:
            continue
        if _STATEMENT.search(node.value):
            yield node.lineno, node.value.split("\n")[0][:60]


def built_where_executed(module: Module) -> Found:
    """Text put together in the very call that executes it: f-string, `%`, `+`, `.format`, `.join`."""
    for node in module.nodes:
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
            continue
        statement = node.args[0]
        if node.func.attr in ("execute", "executemany", "stream", "copy", "SQL") and _is_built(statement):
            yield node.lineno, ast.unparse(statement)[:60]


def status_writers(statements: dict[str, str]) -> list[str]:
    """The statements (by name) that write `app.runs.status`."""
    writes = re.compile(
        r"UPDATE\s+app\.runs\b(?:(?!\bWHERE\b|\bFROM\b).)*?\bSET\b(?:(?!\bWHERE\b).)*?\bstatus\s*=", re.DOTALL
    )
    return sorted(name for name, text in statements.items() if writes.search(without_comments(text)))


def engine_schema_changes(text: str) -> list[str]:
    """What a SQL text changes in schema `dbos`, beyond creating the empty schema."""
    changes = re.compile(
        r"\b((?:CREATE|ALTER|DROP|TRUNCATE|COMMENT\s+ON|INSERT\s+INTO|UPDATE|DELETE\s+FROM|MERGE\s+INTO)\b"
        r"[^;]{0,80}?)\bdbos\b",
        re.IGNORECASE,
    )
    plain = without_comments(text).replace("CREATE SCHEMA IF NOT EXISTS dbos", "")
    return [match.group(0) for match in changes.finditer(plain)]


def without_comments(text: str) -> str:
    """A SQL text without its `--` comments."""
    return re.sub(r"--.*", "", text)


def reach(modules: Iterable[Module], start: Callable[[str], bool]) -> set[str]:
    """The names of our modules that those whose path `start` accepts import, directly or not, themselves too."""
    by_name = {module.name: module for module in modules}
    todo = [module.name for module in by_name.values() if start(module.path)]
    reached: set[str] = set()
    while todo:
        name = todo.pop()
        if name in reached:
            continue
        reached.add(name)
        for _, imported in imports(by_name[name]):
            target = imported if imported in by_name else imported.rpartition(".")[0]
            if target in by_name:
                todo.append(target)
    return reached


def _is_in(name: str, packages: Iterable[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _last_name(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else None


def _is_built(node: ast.AST) -> bool:
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) for part in node.values)
    if isinstance(node, ast.BinOp):
        return True
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("format", "join"):
        # psycopg.sql composes safely: `sql.SQL("…").format(sql.Identifier(…))`.
        return not (isinstance(node.func.value, ast.Call) and _last_name(node.func.value.func) == "SQL")
    return False


def _docstrings(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                yield first.value
