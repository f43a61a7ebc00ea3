"""Creation, migration and reset of the database's schemas."""

from contextlib import suppress

import psycopg
from psycopg import conninfo, sql
from psycopg.rows import tuple_row

import sql as statements
from resources.database import DATABASE, Database, DatabaseError
from sisu_pipeline.domain.canonical import sha256_hex

_CREATED_MEANWHILE = (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation)


def create_database(database: Database) -> None:
    """Create the database itself if the server does not have it."""
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
    """Apply the missing migrations in order; returns their names. Concurrent calls wait for each other.

    Raises DatabaseError when the text of an applied migration has changed since.
    """
    with database.connect() as connection:
        connection.execute(statements.query("schema.lock"))
        for statement in ("schema.create_schemas", "schema.create_ledger"):
            connection.execute(statements.query(statement))
        cursor = connection.cursor(row_factory=tuple_row)
        applied: dict[str, str] = dict(cursor.execute(statements.query("schema.applied")).fetchall())
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
    """Drop and recreate the schema `app`, which holds all data of this product."""
    create_database(database)
    _drop(database, ("app",))
    migrate(database)


def system_reset(database: Database) -> None:
    """Drop and recreate the schemas of the engines: `dbos` (queues, history) and `dagster` (runs, event log)."""
    create_database(database)
    _drop(database, ("dbos", "dagster"))
    migrate(database)


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


def _drop(database: Database, schemas: tuple[str, ...]) -> None:
    with database.connect() as connection:
        connection.execute(statements.query("schema.lock"))
        for schema in schemas:
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
