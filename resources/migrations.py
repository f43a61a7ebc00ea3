"""Creation, migration and reset of the database's schemas."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
from psycopg import conninfo, sql
from psycopg.rows import TupleRow, tuple_row

import sql as statements
from resources.database import DATABASE, Connection, Database, DatabaseError
from resources.writer_connections import WriterConnection
from sisu_pipeline.domain.canonical import sha256_hex

_CREATED_MEANWHILE = (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation)

# The SHA-256 digests of the texts that earlier releases shipped. Databases record the text that was applied, so a
# migration whose comments are reworded keeps the digest of each released text here.
EARLIER_TEXTS = {
    "0001_app": {
        "ba13f6307a89354b29f73bc1eaf5593e366e0433765ceee6eac9dac00d117290",  # completed by 0001b_level
        "b2fb3217ba0ce7580d04bf7b887b6142634087792bdb591087d9a49a9dfdf64e",
    },
    "0002_tokens": {"92354ed3e32157e5ebfe3885d1f4553ade6807b51fb9a4744007bd49a7c9b54a"},
    "0003_cancel_and_retry": {"d93732154085f650ebb9b42c216d883a09d3603994b25cbf585a74685dc55527"},
    "0004_decisions": {"e0ee2fbee14a1991a4f4dd5dbef33790659164735c8e93f0a71901ddc1c8e1c9"},
    "0005_deadlines": {"796ed0aa93982fe49447ccc3601f447848e4e9245c32c0eb9673125af46e3f85"},
    "0006_ask_gate": {"e205499e1bc3dfb9bc4eb8fb0e64425f4b06d8e8e10ce5334ea1d3e1d3b9c5e3"},
    "0010_network_policy": {"ff28f8d182075d177f30aeda61f681432629d0f0e77e0306f21ff737b9fa46ea"},
    "0011_task_output": {"a3620a58f9237c741f8d40c73b2f61671401e656831c01b4f52e765766acd546"},
    "0012_merged_results": {"a6dc01f50113cff33ca5a99e1c9a323feda02aa176e5dc30ffc22ca7fe079e51"},
}


def create_database(database: Database) -> None:
    """Create the database itself if the server does not have it."""
    parts = conninfo.conninfo_to_dict(database.url)
    name = str(parts.get("dbname") or DATABASE)
    maintenance = conninfo.make_conninfo(database.url, dbname="postgres")
    try:
        with database.connect():
            return
    except psycopg.OperationalError as error:
        failure = DatabaseError(f"cannot reach the database: {error}".strip())
        # The message is in the server's language, and a failed connection has no SQLSTATE: only the server knows.
        with _connected(maintenance, failure) as connection:
            if connection.execute(statements.query("schema.database_exists"), {"name": name}).fetchone():
                raise failure from error
            with suppress(*_CREATED_MEANWHILE):
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def migrate(database: Database) -> list[str]:
    """Apply the missing migrations in order; returns their names. Concurrent calls wait for each other.

    Raises DatabaseError when a newer release has migrated the database, when the text that was applied is neither
    the current one nor that of an earlier release, and when a pending migration is breaking
    (`sql.Script.breaking`) while processes of an earlier release run.
    """
    with database.connect() as connection:
        connection.execute(statements.query("schema.lock"))
        for statement in ("schema.create_schemas", "schema.create_ledger"):
            connection.execute(statements.query(statement))
        applied = _applied(connection)
        _check_known(applied)
        missing = [script for script in statements.migrations() if not _is_applied(script, applied)]
        _check_unbroken(connection, missing)
        for script in missing:
            connection.execute(script.text)
            digest = sha256_hex(script.text)
            connection.execute(statements.query("schema.record"), {"name": script.name, "sha256": digest})
        return [script.name for script in missing]


def pending(database: Database) -> list[str]:
    """The names of the migrations that `migrate` would apply, in order. Raises DatabaseError as it does."""
    with database.connect() as connection:
        applied = _applied(connection)
        _check_known(applied)
        missing = [script for script in statements.migrations() if not _is_applied(script, applied)]
        _check_unbroken(connection, missing)
        return [script.name for script in missing]


def check_not_newer(database: Database) -> None:
    """Check that this release knows every migration that was applied.

    Raises DatabaseError when a newer release has migrated the database: this one could misread its rows.
    """
    with database.connect() as connection:
        _check_known(_applied(connection))


def exit_if_newer(database: Database, program: str) -> None:
    """End this process with a sentence and status 2 if a newer release has migrated the database.

    Each program calls it once, when it starts, on a connection that is closed at once, so that it may fork later.
    A server that does not answer yet passes: programs wait for it.
    """
    try:
        with suppress(psycopg.OperationalError):
            check_not_newer(Database(database.url))
    except DatabaseError as failure:
        sys.stderr.write(f"sisu {program}: {failure}\n")
        sys.exit(2)


def reset(database: Database) -> None:
    """Drop and recreate the schema `app`, which holds all data of this product. Raises DatabaseError."""
    create_database(database)
    check_not_newer(database)
    _drop(database, ("app",))
    migrate(database)


def system_reset(database: Database) -> None:
    """Drop and recreate the schemas of the engines: `dbos` (queues, history) and `dagster` (runs, event log).

    Raises DatabaseError.
    """
    create_database(database)
    check_not_newer(database)
    _drop(database, ("dbos", "dagster"))
    migrate(database)


def users(database: Database) -> list[str]:
    """The names of the connections of workers and APIs: a stack runs on this database as long as there are any."""
    with database.connect() as connection:
        return _users(connection)


def rows_in(database: Database, schemas: tuple[str, ...]) -> dict[str, int]:
    """The number of rows of each table in these schemas, by `schema.table`."""
    with database.connect() as connection:
        cursor = connection.cursor(row_factory=tuple_row)
        tables = cursor.execute(statements.query("schema.tables"), {"schemas": list(schemas)}).fetchall()
        counts: dict[str, int] = {}
        for schema, table in tables:
            count = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table))
            counted = cursor.execute(count).fetchone()
            counts[f"{schema}.{table}"] = counted[0] if counted else 0
        return counts


def _applied(connection: Connection) -> dict[str, str]:
    """The applied migrations with the digests of their texts; empty before the first one."""
    cursor = connection.cursor(row_factory=tuple_row)
    (has_ledger,) = cursor.execute(statements.query("schema.has_ledger")).fetchone() or (False,)
    return dict(cursor.execute(statements.query("schema.applied")).fetchall()) if has_ledger else {}


def _is_applied(script: statements.Script, applied: dict[str, str]) -> bool:
    """Whether a migration was applied. Raises DatabaseError when its text has changed since."""
    digest = sha256_hex(script.text)
    if applied.get(script.name, digest) not in {digest, *EARLIER_TEXTS.get(script.name, ())}:
        raise DatabaseError(
            f"migration {script.name} was changed after it was applied: restore it and add a new one."
        )
    return script.name in applied


def _check_known(applied: dict[str, str]) -> None:
    known = [script.name for script in statements.migrations()]
    unknown = sorted(applied.keys() - set(known))
    if unknown:
        raise DatabaseError(
            f"the database has schema {_number(unknown[-1])}, which a newer release made, and this release knows "
            f"schemas up to {_number(known[-1])}: install the release that migrated the database, or a newer one."
        )


def _check_unbroken(connection: Connection, missing: list[statements.Script]) -> None:
    """Raises DatabaseError when a migration to apply would break processes that run now."""
    breaking = next((script for script in missing if script.breaking), None)
    running = _users(connection) if breaking else []
    if breaking and running:
        raise DatabaseError(
            f"migration {breaking.name} breaks running processes of earlier releases ({breaking.breaking}): "
            f"stop all workers and APIs, then migrate (connected: {', '.join(running)})."
        )


def _users(connection: Connection) -> list[str]:
    return [row["name"] for row in connection.execute(statements.query("schema.users"))]


def _number(migration: str) -> str:
    """The number of a schema, with which the name of its newest migration begins."""
    return migration.split("_")[0]


@contextmanager
def _connected(url: str, failure: DatabaseError) -> Iterator[psycopg.Connection[TupleRow]]:
    """An autocommit connection. Raises `failure` when there is none."""
    try:
        connection = WriterConnection.connect(url, autocommit=True)
    except psycopg.OperationalError as error:
        raise failure from error
    with connection:
        yield connection


def _drop(database: Database, schemas: tuple[str, ...]) -> None:
    with database.connect() as connection:
        connection.execute(statements.query("schema.lock"))
        for schema in schemas:
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
