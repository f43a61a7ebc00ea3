"""The READMEs list every use of private API, with the files that use it, and private API stays in its packages."""

import re
from collections import Counter
from pathlib import Path

import pytest

from sisu_pipeline.settings import PROJECT_ROOT
from tests.canary.inventory import READMES, Row, rows
from tests.canary.private_api import by_symbol, python_uses, tables, uses, uses_in

ROWS = [row for readme in READMES for row in rows(readme)]


@pytest.fixture(scope="module")
def found() -> dict[str, set[str]]:
    """The files that use each private symbol."""
    return by_symbol(uses())


def test_the_tables_list_exactly_the_private_symbols_that_the_code_uses(found: dict[str, set[str]]) -> None:
    listed = {symbol for row in ROWS for symbol in row.symbols}
    assert {"without a row": sorted(found.keys() - listed), "no longer used": sorted(listed - found.keys())} == {
        "without a row": [],
        "no longer used": [],
    }


def test_no_symbol_has_two_rows() -> None:
    times = Counter(symbol for row in ROWS for symbol in row.symbols)
    assert [symbol for symbol, count in times.items() if count > 1] == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.symbols[0])
def test_a_row_names_the_files_that_use_its_symbols(row: Row, found: dict[str, set[str]]) -> None:
    assert row.files == {path for symbol in row.symbols for path in found.get(symbol, ())}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.symbols[0])
def test_a_row_names_guards_that_exist(row: Row) -> None:
    assert row.guards
    for guard in row.guards:
        name, _, function = guard.partition("::")
        (path,) = (PROJECT_ROOT / "tests").rglob(name)
        assert not function or re.search(rf"^def {function}\(", path.read_text(), re.MULTILINE), guard


def test_private_dagster_api_is_used_in_the_engine_package_only() -> None:
    outside = {
        use
        for use in python_uses()
        if use.symbol.startswith("dagster") and not use.path.startswith("sisu_pipeline/engine/")
    }
    assert outside == set()


def test_private_dbos_api_is_used_in_the_queueing_package_only() -> None:
    outside = {
        use
        for use in python_uses()
        if use.symbol.startswith("dbos") and not use.path.startswith("sisu_pipeline/queueing/")
    }
    assert outside == set()


def test_tables_of_dagster_and_dbos_are_named_in_sql_files_and_by_the_store_only() -> None:
    places = {use.path for use in tables()}
    assert {place for place in places if not place.startswith(("sql/", "sisu_pipeline/store/"))} == set()


def test_only_the_storage_sets_attributes_of_foreign_classes_by_name() -> None:
    callers = {
        path.relative_to(PROJECT_ROOT).as_posix()
        for package in ("sisu_pipeline", "resources", "sensors", "sql")
        for path in Path(PROJECT_ROOT, package).rglob("*.py")
        if re.search(r"\bsetattr\(", path.read_text())
    }
    assert callers == {"sisu_pipeline/engine/dagster_storage.py"}


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("from dagster._core.events import EngineEventData", "dagster._core.events.EngineEventData"),
        ("from dagster_shared.error import SerializableErrorInfo", "dagster_shared.error.SerializableErrorInfo"),
        ("import dagster._daemon.sensor as loop\nloop.get_elapsed", "dagster._daemon.sensor.get_elapsed"),
        ("from dagster import DagsterEvent\nDagsterEvent.job_start", "dagster.DagsterEvent.job_start"),
        (
            "import dagster as dg\ndef f(x: dg.DagsterInstance): x.run_launcher",
            "dagster.DagsterInstance.run_launcher",
        ),
        ("def f(x): x._sys_db.engine", "dbos._sys_db.SystemDatabase.engine"),
        ("def f(x): x._unheard_of", "unknown._unheard_of"),
    ],
)
def test_the_scan_finds_private_api(text: str, symbol: str) -> None:
    assert symbol in {use.symbol for use in uses_in("example.py", text)}


@pytest.mark.parametrize(
    "text",
    [
        "import dagster as dg\ndef f(x: dg.DagsterInstance): x.get_run_by_id('r')",
        "import dagster as dg\ndef f(x: dg.DagsterRun): x.status, x.tags, x.is_finished",
        "import os\nos._exit(0)",
        "class Own:\n    def _f(self): self._g\n    def _g(self): ...",
    ],
)
def test_the_scan_passes_public_api_and_our_own_private_names(text: str) -> None:
    assert uses_in("example.py", text) == set()
