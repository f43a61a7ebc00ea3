"""`sisu start`: the whole stack in the foreground."""

import os
from typing import Annotated

import typer

from sisu_pipeline.console.command_output import speaking, write


def start(
    workers: Annotated[int | None, typer.Option(min=1, max=256, help="Intent worker processes.")] = None,
    sandbox_workers: Annotated[int, typer.Option(min=1, max=64, help="Sandbox worker processes.")] = 1,
) -> None:
    """Start everything on PORT and ADMIN_PORT; Ctrl-C stops it all, a second one at once."""
    with speaking():
        from sisu_pipeline.settings import settings
        from sisu_pipeline.supervisor.stack import Stack

        configuration = settings()
        stack = Stack(
            configuration,
            intent_workers=workers or configuration.intent_queue_worker_concurrency,
            sandbox_workers=sandbox_workers,
            report=write,
        )
        stack.run()
        write("stopped")
        # Everything has ended and is committed: taking Dagster's modules apart would only take a second more.
        os._exit(0)
