"""Command output: one JSON document or text on stdout, failures on stderr, and the exit code."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Annotated, Any

import typer

from sisu_pipeline.console.exit_codes import FAILED, Failure, failure_of
from sisu_pipeline.domain.untrusted_text import for_cell, for_json, for_terminal

AsJson = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document.")]
Url = Annotated[
    str | None, typer.Option("--url", help="Base URL of the API.", show_default="http://127.0.0.1:PORT")
]


class CommandOutput:
    """Print the result or the failure of one command, as JSON or as text."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def print_result(self, document: Any, as_text: Callable[[], str]) -> None:
        """Print the document with `--json`, otherwise the text."""
        print_line(to_json_text(document) if self.as_json else as_text())

    def print_failure(self, failure: Failure) -> None:
        """Print the failure on stderr; with `--json`, as the one document on stdout."""
        if self.as_json:
            print_line(to_json_text(failure.document()))
            return
        code = f" [{failure.code}]" if failure.exit_status == FAILED else ""
        sys.stderr.write(for_terminal(f"sisu: {failure.message}{code}\n"))
        for detail in failure.details:
            sys.stderr.write(f"  {for_cell(detail['pointer'] or '/')}: {for_cell(detail['message'])}\n")


@contextmanager
def report_failures(as_json: bool = False) -> Iterator[CommandOutput]:
    """Run a command's body; print expected failures and exit with their code. Other exceptions propagate."""
    out = CommandOutput(as_json)
    try:
        yield out
    except (typer.Exit, typer.Abort, KeyboardInterrupt):
        raise
    except Exception as error:
        failure = failure_of(error)
        if failure is None:
            raise
        out.print_failure(failure)
        raise typer.Exit(failure.exit_status) from None


def print_line(text: str) -> None:
    """Write a line to stdout and flush; characters that would control a terminal are written as escapes."""
    sys.stdout.write(f"{for_terminal(text)}\n")
    sys.stdout.flush()


def print_file(text: str) -> None:
    """Write the content of a file to stdout: unchanged, but for a terminal as `print_line` does."""
    sys.stdout.write(for_terminal(text.replace("\r\n", "\n")) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def to_json_text(value: Any) -> str:
    """Format a value as indented JSON; times, paths and other objects as strings.

    An output that is not Unicode gets other characters as JSON escapes, which keep the value.
    """
    is_unicode = (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    return for_json(json.dumps(value, indent=2, ensure_ascii=not is_unicode, default=str))


def escape_unencodable() -> None:
    """Let stdout write a character that its encoding lacks as an escape, instead of failing."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
