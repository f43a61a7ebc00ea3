"""`sisu intent`: what people want done."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from sisu_pipeline.console.command_output import AsJson, Url, speaking
from sisu_pipeline.console.exit_codes import Failure

app = typer.Typer(help="Submit intents.", no_args_is_help=True)


@app.callback()
def intents() -> None:
    """A noun with one verb so far."""


@app.command()
def submit(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="A JSON file, or - for standard input.")],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Keep an intent ({goal, inputs, constraints, connectors?}); the same content is the same intent."""
    from sisu_pipeline.console.api_client import Api

    with speaking(as_json) as voice:
        kept = Api(url).post("intents", body=_read(file))
        again = " (it was there before)" if kept["isReplay"] else ""
        voice.say(kept, lambda: f"{kept['intentId']}{again}\nNext: sisu run start {kept['intentId']}")


def _read(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise Failure(f"cannot read {file}: {error.strerror}", "no_file") from None
