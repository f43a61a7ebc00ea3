"""The table of layers in docs/architecture.md is the import contract of pyproject.toml."""

import re
import tomllib

from sisu_pipeline.settings import PROJECT_ROOT
from tests.docs_generators.markdown import DOCS

_ROW = re.compile(r"^\| (`[^|]+) \|", re.MULTILINE)
_PACKAGE = re.compile(r"`([a-z_]+)`")


def _layers_of_the_contract() -> list[set[str]]:
    contracts = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "layers")
    return [{name.strip().removeprefix("sisu_pipeline.") for name in layer.split("|")} for layer in layers]


def _layers_of_the_page() -> list[set[str]]:
    section = (DOCS / "architecture.md").read_text().partition("## Who may import whom")[2].partition("\n## ")[0]
    return [set(_PACKAGE.findall(cell)) for cell in _ROW.findall(section)]


def test_the_table_of_layers_is_the_import_contract() -> None:
    assert _layers_of_the_page() == _layers_of_the_contract()


def test_every_package_has_a_layer() -> None:
    folders = {path.parent.name for path in (PROJECT_ROOT / "sisu_pipeline").glob("*/__init__.py")}
    assert folders <= set().union(*_layers_of_the_page())
