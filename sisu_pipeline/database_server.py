"""The database server of this deployment: the one in `DATABASE_URL`, or the embedded one.

The embedded server is PostgreSQL from a Python package, in the data folder, on a Unix socket only.
"""

import subprocess

from psycopg import conninfo

from resources import writer_connections
from resources.database import Database, DatabaseError
from resources.embedded_postgres import EmbeddedPostgres
from resources.migrations import create_database, migrate
from sisu_pipeline.settings import Settings, child_environment


def embedded(settings: Settings) -> EmbeddedPostgres:
    """The embedded server of this data folder, running or not."""
    return EmbeddedPostgres(settings.home)


def locate(settings: Settings) -> Database:
    """The database of these settings.

    Raises DatabaseError when the embedded server is not running, and DatabaseUrlError.
    """
    if settings.database_url is not None:
        writer_connections.remember_in(settings.home)
        return Database.from_url(settings.database_url.get_secret_value())
    database = embedded(settings).database
    if database is None:
        raise DatabaseError("the embedded database is not running: start it with `sisu db up`.")
    return database


def is_running(settings: Settings) -> bool:
    """Whether the embedded server of this data folder runs."""
    return embedded(settings).is_running


def server_pid(settings: Settings) -> int | None:
    """The process id of the embedded server; None when it is not running."""
    return embedded(settings).pid


def up(settings: Settings) -> Database:
    """Start the embedded server if it is not running, create the database, apply the migrations."""
    if settings.database_url is None:
        embedded(settings).start()
    database = locate(settings)
    create_database(database)
    migrate(database)
    return database


def down(settings: Settings) -> bool:
    """Stop the embedded server; False when it was not running. Raises DatabaseError for an external server."""
    if settings.database_url is not None:
        raise DatabaseError("DATABASE_URL is set to an external server: stop it where you started it.")
    return embedded(settings).stop()


def psql(settings: Settings, arguments: list[str]) -> int:
    """Run the bundled psql on the database; returns its exit code."""
    parameters = conninfo.conninfo_to_dict(locate(settings).url)
    # A password on the command line would show in the process list.
    password = parameters.pop("password", None)
    secrets = {} if password is None else {"PGPASSWORD": str(password)}
    # The operator's guide passes `-U postgres -d app_local`: our parameters come last and take precedence.
    command = [str(embedded(settings).psql), *arguments, "-d", conninfo.make_conninfo("", **parameters)]
    return subprocess.run(command, env=child_environment(**secrets), check=False).returncode
