"""How commands speak: a JSON document or words on stdout, failures on stderr, and the exit code."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from sisu_pipeline.console.exit_codes import REFUSED, Failure, failure_of

AsJson = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document.")]
Url = Annotated[str | None, typer.Option("--url", help="Where the API answers; this machine's PORT by default.")]


class Voice:
    """The answer of one command."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def say(self, document: Any, in_words: Callable[[], str]) -> None:
        """Print the document when JSON is wanted, else the words."""
        write(as_document(document) if self.as_json else in_words())

    def fail(self, failure: Failure) -> None:
        """Print the failure: as the one document when JSON is wanted, else on stderr."""
        if self.as_json:
            write(as_document(failure.document()))
            return
        code = f" [{failure.code}]" if failure.exit_status == REFUSED else ""
        sys.stderr.write(f"sisu: {failure.message}{code}\n")
        for detail in failure.details:
            sys.stderr.write(f"  {detail['pointer'] or '/'}: {detail['message']}\n")


@contextmanager
def speaking(as_json: bool = False) -> Iterator[Voice]:
    """A command's frame: failures a person can act on become a message and an exit code, others a traceback."""
    voice = Voice(as_json)
    try:
        yield voice
    except (typer.Exit, typer.Abort, KeyboardInterrupt):
        raise
    except Exception as error:
        failure = failure_of(error)
        if failure is None:
            raise
        voice.fail(failure)
        raise typer.Exit(failure.exit_status) from None


def write(text: str) -> None:
    """A text and a line end on stdout, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def as_document(value: Any) -> str:
    """A value as the JSON people and programs read; times and paths as text."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)
