"""The command tree: every command and group is registered here."""

from pathlib import Path
from typing import Annotated

import typer

from sisu_pipeline.cli.commands import (
    gate_commands,
    intent_commands,
    mcp_command,
    rule_commands,
    run_commands,
    token_commands,
)
from sisu_pipeline.cli.proof_commands import bench_commands, demo_command, lab_commands
from sisu_pipeline.cli.review.review_commands import register_review
from sisu_pipeline.cli.stack_commands import (
    db_commands,
    doctor_command,
    env_command,
    notification_commands,
    oracle_command,
    start_command,
    version_commands,
    worker_command,
)

app = typer.Typer(
    name="sisu",
    help="Plan intents, approve them and execute them exactly once.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(is_requested: bool) -> None:
    if is_requested:
        from importlib.metadata import version

        typer.echo(f"sisu {version('sisu-pipeline')}")
        raise typer.Exit


# Commands that read or change a running stack; others create one in the current folder.
_OF_A_STACK = frozenset(
    {
        *("run", "gate", "intent", "token", "session", "recipe", "policy"),
        *("oracle", "doctor", "env", "version", "notification"),
    }
)


@app.callback()
def sisu(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    home: Annotated[
        Path | None,
        typer.Option(
            help="Data folder of the stack.", show_default="SISU_HOME, .sisu, or that of the stack started last"
        ),
    ] = None,
) -> None:
    """Options of `sisu` itself."""
    if context.resilient_parsing:
        return
    if home is not None:
        from sisu_pipeline.settings import use_home

        use_home(home.expanduser().resolve())
    elif context.invoked_subcommand in _OF_A_STACK:
        from sisu_pipeline.console.known_stack import recall

        known = recall()
        if known is not None:
            from sisu_pipeline.settings import names_home, use_home

            if not names_home():
                use_home(known.home, known.port)


app.command("start")(start_command.start)
app.command("worker")(worker_command.worker)
app.command("demo")(demo_command.demo)
app.add_typer(intent_commands.app, name="intent")
app.add_typer(run_commands.app, name="run")
register_review(gate_commands.app)
app.add_typer(gate_commands.app, name="gate")
app.add_typer(token_commands.app, name="token")
app.add_typer(token_commands.session_app, name="session")
app.add_typer(rule_commands.recipe_app, name="recipe")
app.add_typer(rule_commands.policy_app, name="policy")
app.add_typer(notification_commands.app, name="notification")
app.add_typer(db_commands.app, name="db")
app.add_typer(version_commands.app, name="version")
app.add_typer(lab_commands.app, name="lab")
app.add_typer(bench_commands.app, name="bench")
app.command("oracle")(oracle_command.oracle)
app.command("doctor")(doctor_command.doctor)
app.command("env")(env_command.env)
app.command("mcp")(mcp_command.mcp)
