"""`sisu intent`: submit intents."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from sisu_pipeline.console.command_output import AsJson, Url, report_failures
from sisu_pipeline.console.exit_codes import Failure

app = typer.Typer(help="Submit intents.", no_args_is_help=True)


@app.callback()
def intents() -> None:
    """Keep `submit` a subcommand: Typer would merge a single command into the group."""


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
        stored = Api(url).post("intents", body=_read(file))
        replay = " (already stored)" if stored["isReplay"] else ""
        out.print_result(stored, lambda: f"{stored['intentId']}{replay}\nNext: sisu run start {stored['intentId']}")


def _read(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise Failure(f"cannot read {file}: {error.strerror}", "no_file") from None
