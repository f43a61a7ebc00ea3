"""`sisu worker`: workers alone, for more machines on the same Postgres."""

import os
import sys
from enum import StrEnum
from typing import Annotated

import typer

from sisu_pipeline.console.command_output import speaking


class Queue(StrEnum):
    """The queues that have workers."""

    INTENT = "intentQ"
    SANDBOX = "sbxQ"


def worker(
    queue: Annotated[Queue, typer.Option(help="Segments of intents, or sandbox tasks.")],
    processes: Annotated[int | None, typer.Option(min=1, max=256, help="How many processes.")] = None,
) -> None:
    """Run workers on one queue until Ctrl-C; DATABASE_URL (or this data folder) says which Postgres."""
    with speaking():
        from sisu_pipeline.database_server import locate
        from sisu_pipeline.queueing.sandbox_provider import check_sandbox
        from sisu_pipeline.settings import PROJECT_ROOT, settings
        from sisu_pipeline.supervisor.stack_setup import prepare, stack_environment

        configuration = settings()
        locate(configuration)
        if queue is Queue.SANDBOX:
            check_sandbox(configuration)
        environment = stack_environment(configuration, prepare(configuration))
        command = [sys.executable, "-m", "sisu_pipeline.worker", "--queue", queue.value]
        command += ["--processes", str(processes)] if processes else []
        # The worker takes this process's place: it forks from a process that has imported nothing else.
        os.chdir(PROJECT_ROOT)
        os.execve(sys.executable, command, environment)  # noqa: S606 - no shell is wanted
