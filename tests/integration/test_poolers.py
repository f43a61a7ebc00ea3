"""PgBouncer between the processes and Postgres: session pooling works, transaction pooling is refused."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

from resources.database import Database, DatabaseError
from resources.embedded_postgres import SYSTEM_USER
from sisu_pipeline.proof.harness.lab_stack import lab_stack
from sisu_pipeline.proof.harness.running_stack import connect_to
from sisu_pipeline.settings import Settings
from sisu_pipeline.supervisor.database_checks import check_sessions
from sisu_pipeline.supervisor.stack_health import sessions
from tests.chaos.conftest import VARIABLES

PGBOUNCER = shutil.which("pgbouncer")
pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed (Debian: pgbouncer)")
PORT = 6543
TIMEOUT_S = 60.0


@contextmanager
def pooled(database: Database, settings: Settings, mode: str) -> Iterator[Database]:
    """The session's database through PgBouncer, which runs as the user who may connect to the server."""
    server = conninfo.conninfo_to_dict(database.url)["host"]
    as_root = settings.home.stat().st_uid == 0
    settings.home.chmod(0o711)
    with tempfile.TemporaryDirectory(prefix="sisu-pool-") as folder:
        if as_root:
            shutil.chown(folder, SYSTEM_USER)
        configuration = Path(folder) / "pgbouncer.ini"
        configuration.write_text(f"""[databases]
* = host={server} port=5432 user=postgres
[pgbouncer]
listen_addr =
listen_port = {PORT}
unix_socket_dir = {folder}
auth_type = any
pool_mode = {mode}
default_pool_size = 200
max_client_conn = 300
ignore_startup_parameters = options, extra_float_digits
logfile = {folder}/log
""")
        configuration.chmod(0o644)
        Path(folder).chmod(0o755)
        command = [str(PGBOUNCER), *(("-u", SYSTEM_USER) if as_root else ()), str(configuration)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            through = Database(f"postgresql://postgres@/app_local?host={folder}&port={PORT}")
            _wait_for(through, Path(folder) / "log")
            yield through
        finally:
            process.terminate()
            process.wait()


def _wait_for(database: Database, log: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            with database.connect():
                return
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)


@pytest.fixture
def dagster_path(database: Database) -> Iterator[None]:
    """The search path that the documentation sets for the role."""
    statement = "ALTER ROLE postgres IN DATABASE app_local"
    with database.connect() as connection:
        connection.execute(f"{statement} SET search_path = dagster")
    yield
    with database.connect() as connection:
        connection.execute(f"{statement} RESET search_path")


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_shared_sessions_are_refused_with_a_sentence(
    database: Database, database_settings: Settings, mode: str
) -> None:
    with pooled(database, database_settings, mode) as through:
        with pytest.raises(DatabaseError, match="Use session pooling, or connect to Postgres directly"):
            check_sessions(through)
        check = sessions(through)
        assert (check.ok, "transaction or statement pooling" in check.detail) == (False, True)


def test_a_pooler_that_drops_dagsters_schema_is_refused(database: Database, database_settings: Settings) -> None:
    with (
        pooled(database, database_settings, "session") as through,
        pytest.raises(DatabaseError, match="give the role the search_path dagster"),
    ):
        check_sessions(through)


def test_connections_without_a_pooler_are_sessions(database: Database) -> None:
    check_sessions(database)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("dagster_path")
def test_a_run_ends_through_session_pooling(clean_database: Database, database_settings: Settings) -> None:
    with (
        pooled(clean_database, database_settings, "session") as through,
        tempfile.TemporaryDirectory(prefix="sisu-", ignore_cleanup_errors=True) as home,
        lab_stack(Path(home), VARIABLES | {"DATABASE_URL": through.url}) as process,
        connect_to(process) as stack,
    ):
        assert sessions(through).ok
        workflow_id = stack.submit("through a pooler", {"tests": ["1 a", "1 b"], "testCommand": "sleep"})
        stack.wait_for_status([workflow_id], "waiting_input", TIMEOUT_S)
        stack.approve(workflow_id)
        stack.wait_for_status([workflow_id], "succeeded", TIMEOUT_S)
        assert stack.broken_laws() == {}
