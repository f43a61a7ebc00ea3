"""`sisu db`: start, stop, migrate, reset and query the database. Every command is safe to repeat."""

import signal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sisu_pipeline.console.command_output import AsJson, CommandOutput, report_failures
from sisu_pipeline.console.exit_codes import ENVIRONMENT_ERROR, Failure

if TYPE_CHECKING:
    from resources.database import Database

_MOST_NAMED = 3

Force = Annotated[bool, typer.Option("--force", help="Reset although a stack uses the database.")]

app = typer.Typer(help="Start, stop, migrate, reset and query the database.", no_args_is_help=True)


@app.command()
def up(as_json: AsJson = False) -> None:
    """Start the embedded server unless DATABASE_URL is set, and create or migrate every schema."""
    with report_failures(as_json) as out:
        from sisu_pipeline.settings import settings
        from sisu_pipeline.supervisor.stack_setup import prepare

        database = prepare(settings())
        address = _address(database)
        out.print_result({"running": True, "database": address}, lambda: f"database ready: {address}")


@app.command()
def down(as_json: AsJson = False) -> None:
    """Stop the embedded server; its data stays on disk."""
    with report_failures(as_json) as out:
        from sisu_pipeline import database_server
        from sisu_pipeline.settings import settings

        stopped = database_server.down(settings())
        document = {"running": False, "stopped": stopped}
        out.print_result(document, lambda: "stopped" if stopped else "the embedded server was not running")


@app.command()
def migrate(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the pending migrations of the schema app and change nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Apply pending migrations of the schemas app, dbos and dagster; no migration is ever reversed."""
    with report_failures(as_json) as out:
        from resources import migrations
        from sisu_pipeline.supervisor.stack_setup import make_engine_schemas

        database = _created_database()
        if dry_run:
            pending = migrations.pending(database)
            listed = f"pending: {', '.join(pending)}" if pending else "no pending migrations"
            out.print_result({"pending": pending}, lambda: listed)
            return
        applied = migrations.migrate(database)
        make_engine_schemas(database)
        text = f"applied: {', '.join(applied)}" if applied else "no pending migrations"
        out.print_result({"applied": applied}, lambda: text)


@app.command()
def reset(force: Force = False, as_json: AsJson = False) -> None:
    """Drop and recreate the schema app: intents, runs, steps, artifacts and decisions. Stop the stack first."""
    with report_failures(as_json) as out:
        from resources import migrations
        from sisu_pipeline.supervisor.stack_setup import make_engine_schemas

        database = _created_database()
        _check_unused(database, force)
        dropped = migrations.rows_in(database, ("app",))
        migrations.reset(database)
        make_engine_schemas(database)
        _print_dropped(out, dropped)


@app.command("sys-reset")
def sys_reset(force: Force = False, as_json: AsJson = False) -> None:
    """Drop and recreate the schemas dbos and dagster: queues, runs and history. Stop the stack first."""
    with report_failures(as_json) as out:
        from resources import migrations
        from sisu_pipeline.supervisor.stack_setup import make_engine_schemas

        database = _created_database()
        _check_unused(database, force)
        dropped = migrations.rows_in(database, ("dbos", "dagster"))
        migrations.system_reset(database)
        make_engine_schemas(database)
        _print_dropped(out, dropped)


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []})
def psql(context: typer.Context) -> None:
    """Run the bundled psql on this database; all arguments are passed to psql."""
    with report_failures():
        from sisu_pipeline import database_server
        from sisu_pipeline.settings import settings

        # psql handles Ctrl-C itself: it cancels the running query.
        signal.signal(signal.SIGINT, lambda *_: None)
        raise typer.Exit(database_server.psql(settings(), context.args))


def _created_database() -> "Database":
    """The database, created on its server if missing. Raises DatabaseError when the embedded server is down."""
    from resources import migrations
    from sisu_pipeline import database_server
    from sisu_pipeline.settings import settings

    database = database_server.locate(settings())
    migrations.create_database(database)
    return database


def _check_unused(database: "Database", force: bool) -> None:
    """Raise Failure when a stack uses the database, unless `force`: its work would be gone from under it."""
    from resources import migrations

    names = [] if force else migrations.users(database)
    if names:
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        raise Failure(
            f"a stack uses this database ({', '.join(names[:_MOST_NAMED])}{more}): stop it, or add --force",
            "database_in_use",
            ENVIRONMENT_ERROR,
        )


def _address(database: "Database") -> str:
    """The database's name, host and port, without credentials."""
    from psycopg import conninfo

    parts = conninfo.conninfo_to_dict(database.url)
    return f"{parts.get('dbname')} at {parts.get('host') or 'localhost'}" + (
        f":{parts['port']}" if parts.get("port") else ""
    )


def _print_dropped(out: CommandOutput, dropped: dict[str, int]) -> None:
    rows = {name: count for name, count in dropped.items() if count}
    document: dict[str, Any] = {"tables": len(dropped), "rows": rows}
    listed = ", ".join(f"{name} {count}" for name, count in rows.items()) or "none"
    out.print_result(document, lambda: f"dropped and recreated {len(dropped)} tables; rows: {listed}")
