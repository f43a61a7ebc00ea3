"""`sisu intent`: write and submit intents."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from sisu_pipeline.console.command_output import AsJson, Url, report_failures, to_json_text
from sisu_pipeline.console.exit_codes import Failure

app = typer.Typer(help="Write and submit intents.", no_args_is_help=True)


@app.command()
def template() -> None:
    """Print an intent to edit, with a repository, a command and a patch."""
    from sisu_pipeline.console.intent_files import template as written

    _print(written())


@app.command("from-git")
def from_git(
    rev: Annotated[str, typer.Option(help="Revision to start from.")] = "HEAD",
    goal: Annotated[
        str | None, typer.Option(help="Goal in words.", show_default="subject of the revision's commit")
    ] = None,
    tests: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Files that are one task each; may be repeated.")
    ] = None,
    command: Annotated[
        str | None, typer.Option(help="Command of every task.", show_default="true, which always succeeds")
    ] = None,
) -> None:
    """Print an intent that starts from a revision of the git checkout in the current folder."""
    from sisu_pipeline.console.intent_files import from_checkout

    with report_failures():
        _print(from_checkout(Path.cwd(), rev, goal, tests or [], command))


@app.command()
def submit(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE|-",
            help="JSON file with goal, inputs, constraints and optional connectors; - reads stdin.",
        ),
    ],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Submit an intent; the same content is the same intent."""
    from sisu_pipeline.console.api_client import Api

    with report_failures(as_json) as out:
        stored = Api(url).submit(_read(file))
        replay = " (already stored)" if stored["isReplay"] else ""
        out.print_result(stored, lambda: f"{stored['intentId']}{replay}\nNext: sisu run start {stored['intentId']}")


def _print(intent: dict[str, object]) -> None:
    typer.echo(to_json_text(intent))


def _read(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise Failure(f"cannot read {file}: {error.strerror}", "no_file") from None
