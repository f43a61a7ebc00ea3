"""`sisu db`: the database, up and down, made and emptied. Every verb may be repeated."""

import signal
from typing import TYPE_CHECKING, Any

import typer

from sisu_pipeline.console.command_output import AsJson, Voice, speaking

if TYPE_CHECKING:
    from resources.database import Database

app = typer.Typer(help="The database: up, down, made, emptied, asked.", no_args_is_help=True)


@app.command()
def up(as_json: AsJson = False) -> None:
    """Start the embedded server when none is given, and make every schema."""
    with speaking(as_json) as voice:
        from sisu_pipeline.settings import settings
        from sisu_pipeline.supervisor.stack_setup import prepare

        found = prepare(settings())
        voice.say({"running": True, "database": _place(found)}, lambda: f"database ready: {_place(found)}")


@app.command()
def down(as_json: AsJson = False) -> None:
    """Stop the embedded server; what it holds stays on disk."""
    with speaking(as_json) as voice:
        from sisu_pipeline import database_server
        from sisu_pipeline.settings import settings

        stopped = database_server.down(settings())
        voice.say({"running": False, "stopped": stopped}, lambda: "stopped" if stopped else "it was not running")


@app.command()
def migrate(as_json: AsJson = False) -> None:
    """Apply the migrations that are missing, ours and the engines'."""
    with speaking(as_json) as voice:
        from resources import migrations
        from sisu_pipeline.supervisor.stack_setup import make_engine_schemas

        found = _reachable()
        applied = migrations.migrate(found)
        make_engine_schemas(found)
        voice.say({"applied": applied}, lambda: f"applied: {', '.join(applied) or 'nothing was missing'}")


@app.command()
def reset(as_json: AsJson = False) -> None:
    """Drop and remake schema app: intents, runs, steps, artifacts, approvals."""
    with speaking(as_json) as voice:
        from resources import migrations
        from sisu_pipeline.supervisor.stack_setup import make_engine_schemas

        found = _reachable()
        dropped = migrations.rows_in(found, ("app",))
        migrations.reset(found)
        make_engine_schemas(found)
        _say_dropped(voice, dropped)


@app.command("sys-reset")
def sys_reset(as_json: AsJson = False) -> None:
    """Drop and remake schemas dbos and dagster: queues, history, runs and events. Restart what runs afterwards."""
    with speaking(as_json) as voice:
        from resources import migrations
        from sisu_pipeline.supervisor.stack_setup import make_engine_schemas

        found = _reachable()
        dropped = migrations.rows_in(found, ("dbos", "dagster"))
        migrations.system_reset(found)
        make_engine_schemas(found)
        _say_dropped(voice, dropped)


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []})
def psql(context: typer.Context) -> None:
    """The bundled psql on this database; arguments are psql's own."""
    with speaking():
        from sisu_pipeline import database_server
        from sisu_pipeline.settings import settings

        # Ctrl-C is for psql, which cancels a query with it.
        signal.signal(signal.SIGINT, lambda *_: None)
        raise typer.Exit(database_server.psql(settings(), context.args))


def _reachable() -> "Database":
    """The database, made when the server does not have it yet; the embedded server must be up."""
    from resources import migrations
    from sisu_pipeline import database_server
    from sisu_pipeline.settings import settings

    found = database_server.locate(settings())
    migrations.create_database(found)
    return found


def _place(found: "Database") -> str:
    """The database's address without its password."""
    from psycopg import conninfo

    parts = conninfo.conninfo_to_dict(found.url)
    return f"{parts.get('dbname')} at {parts.get('host') or 'localhost'}" + (
        f":{parts['port']}" if parts.get("port") else ""
    )


def _say_dropped(voice: Voice, dropped: dict[str, int]) -> None:
    rows = {name: count for name, count in dropped.items() if count}
    document: dict[str, Any] = {"tables": len(dropped), "rows": rows}
    listed = ", ".join(f"{name} {count}" for name, count in rows.items()) or "they were empty"
    voice.say(document, lambda: f"dropped and remade {len(dropped)} tables; rows: {listed}")
