"""A database that a newer release has migrated: every program of this release refuses it with one sentence."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from psycopg import sql

import sql as statements
from resources import migrations
from resources.database import Database, DatabaseError
from sisu_pipeline.proof.harness.lab_stack import free_ports
from sisu_pipeline.settings import PROJECT_ROOT, child_environment, load_settings
from sisu_pipeline.supervisor.stack_setup import stack_variables

NEWEST = statements.migrations()[-1].name.split("_")[0]
SENTENCE = (
    f"the database has schema 9999, which a newer release made, and this release knows schemas up to {NEWEST}: "
    "install the release that migrated the database, or a newer one."
)
PROGRAMS: dict[str, tuple[str, ...]] = {
    "api": ("sisu_pipeline.api.server",),
    "code server": ("sisu_pipeline.supervisor.code_server",),
    "daemon": ("sisu_pipeline.engine.sensor_daemon",),
    "webserver": ("sisu_pipeline.dagster_web",),
    "worker": ("sisu_pipeline.worker", "--queue", "intentQ"),
}
COMMANDS = (
    ("start",),
    ("worker", "--queue", "sbxQ"),
    ("db", "up"),
    ("db", "migrate"),
    ("db", "migrate", "--dry-run"),
    ("db", "reset", "--force"),
    ("db", "sys-reset", "--force"),
)


@pytest.fixture
def newer(database: Database) -> Iterator[Database]:
    """A database with a migration that this release does not have."""
    found = Database(database.url.replace("/app_local", "/sisu_newer"))
    migrations.create_database(found)
    migrations.migrate(found)
    with found.connect() as connection:
        connection.execute("INSERT INTO app.schema_migrations (name, sha256) VALUES ('9999_later', '')")
        connection.execute("CREATE TABLE dbos.theirs (x int)")
    yield found
    with database.connect(autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE sisu_newer WITH (FORCE)"))


@pytest.mark.parametrize(
    "action", [migrations.migrate, migrations.pending, migrations.reset, migrations.system_reset]
)
def test_a_newer_database_is_refused_and_stays_as_it_is(
    newer: Database, action: Callable[[Database], object]
) -> None:
    with pytest.raises(DatabaseError) as refusal:
        action(newer)
    assert str(refusal.value) == SENTENCE
    with newer.connect() as connection:
        (counted,) = connection.execute("SELECT count(*) AS n FROM app.schema_migrations").fetchall()
        assert counted["n"] == len(statements.migrations()) + 1
        connection.execute("SELECT x FROM dbos.theirs")


@pytest.mark.slow
def test_every_program_and_command_of_an_older_release_refuses_it_with_one_sentence(newer: Database) -> None:
    with tempfile.TemporaryDirectory(prefix="sisu-") as home:
        port, admin_port = free_ports(2)
        given = {"SISU_HOME": home, "PORT": str(port), "ADMIN_PORT": str(admin_port), "DATABASE_URL": newer.url}
        (Path(home) / "dagster").mkdir()
        variables = stack_variables(load_settings(given), newer)
        modules = {name: ("-m", *module) for name, module in PROGRAMS.items()}
        modules |= {" ".join(words): ("-m", "sisu_pipeline.cli", *words) for words in COMMANDS}
        ended = _run_all(modules, variables)
    expected = {name: (2, f"sisu {name}: {SENTENCE}\n") for name in PROGRAMS}
    assert ended == expected | {" ".join(words): (2, f"sisu: {SENTENCE}\n") for words in COMMANDS}


@pytest.mark.slow
def test_the_doctor_of_an_older_release_fails_with_the_same_sentence(newer: Database) -> None:
    given = {"DATABASE_URL": newer.url}
    doctor = _run_all({"doctor": ("-m", "sisu_pipeline.cli", "doctor", "--json")}, given, output="stdout")
    status, report = doctor["doctor"]
    assert status == 1
    assert SENTENCE in report


def _run_all(
    commands: dict[str, tuple[str, ...]], variables: dict[str, str], output: str = "stderr"
) -> dict[str, tuple[int, str]]:
    """The exit statuses and outputs of commands that run at the same time."""
    environment = child_environment(**variables, SBX_MODE="mock")
    started = {
        name: subprocess.Popen(
            [sys.executable, *command],
            cwd=PROJECT_ROOT,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for name, command in commands.items()
    }
    outputs = {name: process.communicate(timeout=240) for name, process in started.items()}
    place = ("stdout", "stderr").index(output)
    return {name: (started[name].returncode, texts[place]) for name, texts in outputs.items()}
