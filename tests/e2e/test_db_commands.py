"""`sisu db`: every command is safe to repeat, and works on an empty server."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest

from sisu_pipeline.database_server import locate
from sisu_pipeline.settings import child_environment, load_settings
from tests.e2e.conftest import run_sisu

_SCHEMAS = (
    "SELECT string_agg(DISTINCT schemaname, ',') FROM pg_tables WHERE schemaname IN ('app', 'dagster', 'dbos')"
)

Environment = dict[str, str]


@pytest.fixture(scope="module")
def environment() -> Iterator[Environment]:
    """An environment with a running embedded server for this module."""
    with TemporaryDirectory(prefix="sisu-db-", ignore_cleanup_errors=True) as folder:
        values = child_environment(SISU_HOME=str(Path(folder)))
        values.pop("DATABASE_URL", None)
        assert run_sisu(values, "db", "up").status == 0
        yield values
        assert run_sisu(values, "db", "down", "--json").document == {"running": False, "stopped": True}


@pytest.mark.parametrize("verb", ["up", "migrate", "reset", "sys-reset"])
@pytest.mark.slow
def test_every_command_leaves_all_three_schemas_usable_also_when_repeated(
    environment: Environment, verb: str
) -> None:
    for _ in range(2):
        done = run_sisu(environment, "db", verb)
        assert done.status == 0, done.stderr
        assert run_sisu(environment, "db", "psql", "-Atc", _SCHEMAS).stdout == "app,dagster,dbos\n"


@pytest.mark.slow
def test_both_resets_work_on_a_server_without_the_database(environment: Environment) -> None:
    # `-d` takes precedence in psql, so the session leaves the database with \\c before dropping it.
    drop = "\\c postgres\nDROP DATABASE app_local WITH (FORCE);\n"
    for verb in ("reset", "sys-reset"):
        assert run_sisu(environment, "db", "psql", "-q", stdin=drop).status == 0
        done = run_sisu(environment, "db", verb)
        assert done.status == 0, done.stderr
        assert run_sisu(environment, "db", "psql", "-Atc", _SCHEMAS).stdout == "app,dagster,dbos\n"


@pytest.mark.slow
def test_reset_reports_the_dropped_rows(environment: Environment) -> None:
    insert = "INSERT INTO app.intents (id, goal, payload) VALUES ('ih_' || repeat('0', 64), 'g', '{}')"
    assert run_sisu(environment, "db", "psql", "-qc", insert).status == 0
    assert "app.intents 1" in run_sisu(environment, "db", "reset").stdout
    assert "app.intents" not in run_sisu(environment, "db", "reset").stdout


@pytest.mark.parametrize(
    ("verb", "name"),
    [
        pytest.param("reset", "sisu-worker intentQ 7 v1", marks=pytest.mark.slow),
        pytest.param("sys-reset", "sisu-api", marks=pytest.mark.slow),
    ],
)
def test_a_reset_beside_a_running_stack_is_refused_unless_it_is_forced(
    environment: Environment, verb: str, name: str
) -> None:
    insert = "INSERT INTO app.intents (id, goal, payload) VALUES ('ih_' || repeat('0', 64), 'g', '{}')"
    count = "SELECT count(*) FROM app.intents"
    assert run_sisu(environment, "db", "psql", "-qc", f"{insert} ON CONFLICT DO NOTHING").status == 0
    database = locate(load_settings({"SISU_HOME": environment["SISU_HOME"]}))
    with psycopg.connect(database.url, application_name=name):
        refused = run_sisu(environment, "db", verb)
        assert (refused.status, refused.stdout) == (2, "")
        assert refused.stderr == f"sisu: a stack uses this database ({name}): stop it, or add --force\n"
        assert run_sisu(environment, "db", "psql", "-Atc", count).stdout == "1\n"
        assert run_sisu(environment, "db", verb, "--force").status == 0
    assert run_sisu(environment, "db", verb).status == 0


def test_without_a_running_server_commands_name_the_command_to_run(tmp_path: Path) -> None:
    values = child_environment(SISU_HOME=str(tmp_path))
    values.pop("DATABASE_URL", None)
    for command in (("db", "migrate"), ("oracle",), ("worker", "--queue", "sbxQ")):
        failed = run_sisu(values, *command)
        assert (failed.status, failed.stderr.count("\n")) == (2, 1)
        assert "`sisu db up`" in failed.stderr
