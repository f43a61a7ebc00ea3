"""One database: made, migrated and reset, as often as one likes and by as many at once."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

import sql as statements
from resources import migrations
from resources.database import Database, DatabaseError
from resources.failure_classification import is_conflict, kind_of
from sisu_pipeline import database_server as server
from sisu_pipeline.contracts.approval_policy import ApprovalPolicy
from sisu_pipeline.domain.canonical import canonical_json, sha256_json
from sisu_pipeline.domain.failure_kind import FailureKind
from sisu_pipeline.settings import PROJECT_ROOT, Settings, load_settings
from tests.builders import apply_policy


@pytest.fixture
def unmade(database: Database) -> Iterator[Database]:
    """A database of the session's server that does not exist yet."""
    name = "sisu_unmade"
    yield Database(database.url.replace("/app_local", f"/{name}"))
    with database.connect(autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def own_settings() -> Iterator[Settings]:
    """Settings of a data folder with an unusual name and without a server; one that was started is stopped."""
    with tempfile.TemporaryDirectory(prefix="sisu-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "it's ä data"
        home.mkdir(mode=0o755)
        settings = load_settings({"SISU_HOME": str(home)})
        try:
            yield settings
        finally:
            server.down(settings)


def _schemas(database: Database) -> set[str]:
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname = ANY(%s)", [["app", "dagster", "dbos"]]
        )
        return {row["nspname"] for row in rows}


def _tables(database: Database, schema: str) -> set[str]:
    with database.connect() as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema])
        return {row["tablename"] for row in rows}


_IMPORTS = "from resources import migrations\nfrom sisu_pipeline import database_server as server"


def _at_once(script: str, argument: str, processes: int) -> list[str]:
    """The outputs of the same script run by several processes that start working together."""
    ready = "import sys; print('ready', flush=True); sys.stdin.readline()"
    command = [sys.executable, "-c", f"{_IMPORTS}\n{ready}\n{script}", argument]
    started = [
        subprocess.Popen(command, cwd=PROJECT_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate()[0].strip() for process in started]
    assert [process.returncode for process in started] == [0] * processes
    return outputs


def test_a_database_is_created_with_three_schemas_and_every_migration(unmade: Database) -> None:
    migrations.create_database(unmade)
    assert migrations.migrate(unmade) == [script.name for script in statements.migrations()]
    assert _schemas(unmade) == {"app", "dagster", "dbos"}
    assert {"intents", "runs", "run_steps", "sbx_runs", "artifacts", "plan_approvals"} <= _tables(unmade, "app")


def test_creating_and_migrating_again_changes_nothing(unmade: Database) -> None:
    migrations.create_database(unmade)
    migrations.migrate(unmade)
    before = _tables(unmade, "app")
    migrations.create_database(unmade)
    assert migrations.migrate(unmade) == []
    assert _tables(unmade, "app") == before


def test_four_processes_that_create_and_migrate_at_once_apply_each_migration_once(unmade: Database) -> None:
    script = """
target = server.Database(sys.argv[1])
migrations.create_database(target)
print(len(migrations.migrate(target)))
"""
    applied = _at_once(script, unmade.url, processes=4)
    assert sorted(applied) == ["0", "0", "0", str(len(statements.migrations()))]


def test_a_migration_that_was_changed_after_it_was_applied_is_refused(unmade: Database) -> None:
    migrations.create_database(unmade)
    migrations.migrate(unmade)
    with unmade.connect() as connection:
        connection.execute("UPDATE app.schema_migrations SET sha256 = 'other' WHERE name = '0001_app'")
    with pytest.raises(DatabaseError, match="migration 0001_app was changed"):
        migrations.migrate(unmade)


def test_a_statement_prepared_before_a_column_was_added_fails_once_and_the_failure_passes(
    database: Database,
) -> None:
    with database.connect() as running, database.connect(autocommit=True) as migrating:
        migrating.execute("CREATE TABLE public.grows AS SELECT 1 AS a")
        try:
            running.execute("SELECT * FROM public.grows", prepare=True)
            running.commit()
            migrating.execute("ALTER TABLE public.grows ADD COLUMN b int")
            with pytest.raises(psycopg.errors.FeatureNotSupported) as outdated:
                running.execute("SELECT * FROM public.grows", prepare=True)
            running.rollback()
            assert kind_of(outdated.value) is FailureKind.PASSING
            assert is_conflict(outdated.value)
            assert running.execute("SELECT * FROM public.grows", prepare=True).fetchall() == [{"a": 1, "b": None}]
            running.rollback()
        finally:
            migrating.execute("DROP TABLE public.grows")


def test_a_breaking_migration_waits_until_no_worker_and_no_api_is_connected(
    unmade: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrations.create_database(unmade)
    migrations.migrate(unmade)
    text = "-- Drop a table.\n-- breaking: workers read it\nDROP TABLE app.worker_deaths;"
    breaking = statements.Script("9999_breaking", "Drop a table.", text)
    scripts = [*statements.migrations(), breaking]
    monkeypatch.setattr(statements, "migrations", lambda: scripts)
    worker = Database(f"{unmade.url}&application_name=sisu-worker%20intentQ%20abcdef01%20v1")
    with worker.connect():
        for action in (migrations.migrate, migrations.pending):
            with pytest.raises(DatabaseError) as refusal:
                action(unmade)
            assert str(refusal.value) == (
                "migration 9999_breaking breaks running processes of earlier releases (workers read it): stop all "
                "workers and APIs, then migrate (connected: sisu-worker intentQ abcdef01 v1)."
            )
        assert "worker_deaths" in _tables(unmade, "app")
    assert migrations.pending(unmade) == migrations.migrate(unmade) == ["9999_breaking"]
    assert "worker_deaths" not in _tables(unmade, "app")


@pytest.mark.parametrize("name", migrations.EARLIER_TEXTS)
def test_the_text_of_an_earlier_release_is_accepted(unmade: Database, name: str) -> None:
    migrations.create_database(unmade)
    migrations.migrate(unmade)
    for digest in migrations.EARLIER_TEXTS[name]:
        with unmade.connect() as connection:
            connection.execute("UPDATE app.schema_migrations SET sha256 = %s WHERE name = %s", [digest, name])
        assert migrations.migrate(unmade) == []


def test_reset_empties_the_products_tables_and_leaves_the_engines(unmade: Database) -> None:
    migrations.create_database(unmade)
    migrations.migrate(unmade)
    with unmade.connect() as connection:
        connection.execute("CREATE TABLE dbos.theirs (x int)")
        apply_policy(connection, "strict", approvals=2)
    migrations.reset(unmade)
    assert _tables(unmade, "dbos") == {"theirs"}
    with unmade.connect() as connection:
        assert connection.execute("SELECT count(*) AS n FROM app.recipes").fetchall() == [{"n": 3}]
        assert connection.execute("SELECT id, version FROM app.policies").fetchall() == [
            {"id": "default", "version": 1}
        ]


def test_system_reset_empties_the_engines_schemas_and_leaves_the_product(unmade: Database) -> None:
    migrations.create_database(unmade)
    migrations.migrate(unmade)
    with unmade.connect() as connection:
        connection.execute("CREATE TABLE dbos.theirs (x int)")
        connection.execute("CREATE TABLE dagster.theirs (x int)")
        apply_policy(connection, "strict", approvals=2)
    migrations.system_reset(unmade)
    assert _tables(unmade, "dbos") == _tables(unmade, "dagster") == set()
    with unmade.connect() as connection:
        assert connection.execute("SELECT count(*) AS n FROM app.policies").fetchall() == [{"n": 2}]


@pytest.mark.parametrize("action", [migrations.reset, migrations.system_reset])
def test_a_reset_works_on_an_empty_server_and_again(unmade: Database, action: Callable[[Database], None]) -> None:
    action(unmade)
    action(unmade)
    assert _schemas(unmade) == {"app", "dagster", "dbos"}
    assert "runs" in _tables(unmade, "app")


def test_every_seeded_recipe_hash_is_of_its_content(clean_database: Database) -> None:
    with clean_database.connect() as connection:
        for row in connection.execute("SELECT * FROM app.recipes"):
            content = {
                "name": row["name"],
                "version": row["version"],
                "queueName": row["queue_name"],
                "maxConcurrency": row["max_concurrency"],
                "maxSteps": row["max_steps"],
                "maxSandboxMinutes": row["max_sandbox_minutes"],
            }
            assert row["hash"] == sha256_json(content)


def test_every_seeded_policy_is_canonical_and_valid(database: Database) -> None:
    with database.connect() as connection:
        for row in connection.execute("SELECT * FROM app.policies WHERE channel = 'migration'"):
            content = ApprovalPolicy.from_json(row["content"]).to_json()
            assert row["document"] == canonical_json(content)
            assert row["sha256"] == sha256_json(content)


def test_a_server_that_cannot_be_reached_is_a_message_for_the_operator() -> None:
    with pytest.raises(DatabaseError, match="cannot reach the database"):
        migrations.create_database(Database("postgresql://postgres@/app_local?host=/nowhere"))


def test_the_embedded_server_is_found_only_while_it_is_up(own_settings: Settings) -> None:
    with pytest.raises(DatabaseError, match="sisu db up"):
        server.locate(own_settings)
    assert server.down(own_settings) is False
    first = server.up(own_settings)
    with first.connect() as connection:
        connection.execute("CREATE TABLE app.kept (x int)")
    assert server.up(own_settings) == server.locate(own_settings) == first
    assert server.down(own_settings) is True
    assert server.down(own_settings) is False
    with pytest.raises(psycopg.OperationalError), first.connect():
        pass
    assert "kept" in _tables(server.up(own_settings), "app")


def test_two_processes_that_start_the_embedded_server_at_once_share_it(own_settings: Settings) -> None:
    script = """
from sisu_pipeline.settings import load_settings
print(server.up(load_settings({"SISU_HOME": sys.argv[1]})).url)
"""
    urls = _at_once(script, str(own_settings.home), processes=2)
    assert set(urls) == {server.locate(own_settings).url}
    configuration = (server.embedded(own_settings).folder / "postgresql.conf").read_text()
    assert configuration.count("Written by sisu") == 1
    assert server.down(own_settings) is True  # a server that other processes started


def test_an_external_server_is_never_stopped() -> None:
    with pytest.raises(DatabaseError, match="external server"):
        server.down(load_settings({"DATABASE_URL": "postgresql://h/db"}))


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_both_spellings_of_the_scheme_are_accepted(scheme: str) -> None:
    located = server.locate(load_settings({"DATABASE_URL": f"{scheme}://u@h/db?sslmode=prefer"}))
    assert located.url == "postgresql://u@h/db?sslmode=prefer"
    assert located.sqlalchemy_url("psycopg") == "postgresql+psycopg://u@h/db?sslmode=prefer"
    assert located.dagster_url == "postgresql://u@h/db?sslmode=prefer&options=-csearch_path%3Ddagster"


def test_dagster_finds_its_tables_in_its_own_schema(database: Database) -> None:
    with psycopg.connect(database.dagster_url) as connection:
        assert connection.execute("SELECT current_schema()").fetchone() == ("dagster",)


def test_a_connection_that_fails_leaves_nothing(clean_database: Database) -> None:
    with pytest.raises(ZeroDivisionError), clean_database.connect() as connection:
        connection.execute("INSERT INTO app.intents VALUES (%s, 'g', '{}')", ["ih_" + "0" * 64])
        raise ZeroDivisionError
    with clean_database.connect() as connection:
        assert connection.execute("SELECT 1 FROM app.intents").fetchall() == []


def test_psql_is_the_bundled_one_on_this_database(
    own_settings: Settings, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    server.up(own_settings)
    assert (
        server.psql(own_settings, ["-U", "postgres", "-d", "app_local", "-tAc", "SELECT current_database()"]) == 0
    )
    assert capfd.readouterr().out == "app_local\n"
    assert server.psql(own_settings, ["-c", "SELECT nothing"]) == 1


def test_a_server_that_is_starting_is_not_running_yet(own_settings: Settings) -> None:
    folder = server.embedded(own_settings).folder
    folder.mkdir()
    (folder / "postmaster.pid").write_text("1\n/half/of/it\n")
    with pytest.raises(DatabaseError, match="not running"):
        server.locate(own_settings)


def test_a_data_folder_with_a_comma_is_refused_with_a_sentence() -> None:
    with pytest.raises(DatabaseError, match="contains a comma"):
        server.up(load_settings({"SISU_HOME": "/tmp/a,b"}))
