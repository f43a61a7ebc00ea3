"""`sisu db`: each verb may be repeated, and is right on an empty server."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from sisu_pipeline.settings import child_environment
from tests.e2e.conftest import run_sisu

_SCHEMAS = (
    "SELECT string_agg(DISTINCT schemaname, ',') FROM pg_tables WHERE schemaname IN ('app', 'dagster', 'dbos')"
)

Environment = dict[str, str]


@pytest.fixture(scope="module")
def environment() -> Iterator[Environment]:
    """An environment whose embedded server is up and belongs to this module."""
    with TemporaryDirectory(prefix="sisu-db-", ignore_cleanup_errors=True) as folder:
        values = child_environment(SISU_HOME=str(Path(folder)))
        values.pop("DATABASE_URL", None)
        assert run_sisu(values, "db", "up").status == 0
        yield values
        assert run_sisu(values, "db", "down", "--json").document == {"running": False, "stopped": True}


@pytest.mark.parametrize("verb", ["up", "migrate", "reset", "sys-reset"])
def test_every_verb_leaves_all_three_schemas_usable_however_often(environment: Environment, verb: str) -> None:
    for _ in range(2):
        done = run_sisu(environment, "db", verb)
        assert done.status == 0, done.stderr
        assert run_sisu(environment, "db", "psql", "-Atc", _SCHEMAS).stdout == "app,dagster,dbos\n"


def test_both_resets_work_on_a_server_that_has_no_database_yet(environment: Environment) -> None:
    # `-d` comes last for psql, so the database to drop is left by \\c.
    drop = "\\c postgres\nDROP DATABASE app_local WITH (FORCE);\n"
    for verb in ("reset", "sys-reset"):
        assert run_sisu(environment, "db", "psql", "-q", given=drop).status == 0
        done = run_sisu(environment, "db", verb)
        assert done.status == 0, done.stderr
        assert run_sisu(environment, "db", "psql", "-Atc", _SCHEMAS).stdout == "app,dagster,dbos\n"


def test_reset_says_what_was_dropped(environment: Environment) -> None:
    insert = "INSERT INTO app.intents (id, goal, payload) VALUES ('ih_' || repeat('0', 64), 'g', '{}')"
    assert run_sisu(environment, "db", "psql", "-qc", insert).status == 0
    assert "app.intents 1" in run_sisu(environment, "db", "reset").stdout
    assert "app.intents" not in run_sisu(environment, "db", "reset").stdout


def test_what_is_not_up_is_said_with_what_to_do(tmp_path: Path) -> None:
    values = child_environment(SISU_HOME=str(tmp_path))
    values.pop("DATABASE_URL", None)
    for command in (("db", "migrate"), ("oracle",), ("worker", "--queue", "sbxQ")):
        said = run_sisu(values, *command)
        assert (said.status, said.stderr.count("\n")) == (2, 1)
        assert "`sisu db up`" in said.stderr
