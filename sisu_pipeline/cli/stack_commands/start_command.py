"""`sisu start`: run the whole stack in the foreground."""

import errno
import os
from typing import Annotated

import typer

from sisu_pipeline.console.command_output import print_line, report_failures


def start(
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=256,
            help="Number of intent worker processes.",
            show_default="INTENT_QUEUE_WORKER_CONCURRENCY",
        ),
    ] = None,
    sandbox_workers: Annotated[int, typer.Option(min=1, max=64, help="Number of sandbox worker processes.")] = 1,
) -> None:
    """Run the whole stack on PORT and ADMIN_PORT until Ctrl-C; a second Ctrl-C kills it."""
    with report_failures():
        from sisu_pipeline.console.known_stack import KnownStack, remember
        from sisu_pipeline.settings import names_home, settings
        from sisu_pipeline.supervisor.stack import Stack

        configuration = settings()
        stack = Stack(
            configuration,
            intent_workers=workers or configuration.intent_queue_worker_concurrency,
            sandbox_workers=sandbox_workers,
            report=_report,
        )
        if not names_home():
            remember(KnownStack(configuration.home, configuration.port))
        stack.run()
        _report("stopped")
        # Everything has ended and is committed; the interpreter's own shutdown would only add a second.
        os._exit(0)


def _report(line: str) -> None:
    """Print a line, unless the disk that the output goes to is full: the stack goes on without it."""
    try:
        print_line(line)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
