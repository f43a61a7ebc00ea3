"""Generated pages equal what the code generates, and the code describes everything they show."""

import ast
from pathlib import Path

import pytest

from sisu_pipeline.domain.status import TRANSITIONS
from sisu_pipeline.settings import PROJECT_ROOT, Settings
from tests.docs_generators.__main__ import PAGES
from tests.docs_generators.markdown import GeneratedPage
from tests.docs_generators.settings_page import extra
from tests.docs_generators.state_machine_page import CAUSES

PACKAGE = PROJECT_ROOT / "sisu_pipeline"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_generated_page_is_up_to_date(page: GeneratedPage) -> None:
    assert page.read() == page.text(), "run `python -m tests.docs_generators`"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_described(name: str) -> None:
    field = Settings.model_fields[name]
    assert field.description, "the field needs description="
    assert extra(field).get("since"), 'the field needs json_schema_extra={"since": …}'
    assert extra(field).get("read_by"), 'the field needs json_schema_extra={"read_by": […]}'


def test_every_transition_of_a_run_is_explained() -> None:
    assert set(CAUSES) == {(current, wanted) for current in TRANSITIONS for wanted in TRANSITIONS[current]}


def test_the_page_names_every_function_that_moves_a_run() -> None:
    named = {who for cause in CAUSES.values() for who in (cause.who, cause.or_who) if who is not None}
    paths = {path.relative_to(PACKAGE).as_posix(): _movers(path) for path in PACKAGE.rglob("*.py")}
    movers = {f"{path}:{name}" for path, names in paths.items() for name in names}
    assert named <= movers
    assert {mover.partition(":")[0] for mover in movers} == {name.partition(":")[0] for name in named}


def _movers(path: Path) -> set[str]:
    """The functions of a module that call `runs.move`, themselves or by way of another one of the module."""
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    calls = {function.name: set(map(_called, ast.walk(function))) for function in functions}
    movers: set[str] = set()
    while more := {name for name, called in calls.items() if called & {"runs.move", *movers}} - movers:
        movers |= more
    return movers


def _called(node: ast.AST) -> str:
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""
