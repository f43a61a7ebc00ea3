"""`sisu worker`: run only workers, to add machines to one Postgres."""

import os
import sys
from enum import StrEnum
from typing import Annotated

import typer

from sisu_pipeline.console.command_output import report_failures


class Queue(StrEnum):
    """The queues that workers serve."""

    INTENT = "intentQ"
    SANDBOX = "sbxQ"
    COMPILE = "compileQ"


_PROGRAMS = {Queue.INTENT: "intent-worker", Queue.SANDBOX: "sandbox-worker", Queue.COMPILE: "planner-worker"}


def worker(
    queue: Annotated[
        Queue,
        typer.Option(help="Queue to serve: intentQ for segments, sbxQ for sandbox tasks, compileQ for plans."),
    ],
    processes: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=256,
            help="Number of processes; if omitted, INTENT_QUEUE_WORKER_CONCURRENCY for intentQ, else 1.",
        ),
    ] = None,
) -> None:
    """Run workers of one queue until Ctrl-C, on DATABASE_URL or the embedded database."""
    with report_failures():
        from sisu_pipeline.database_server import locate
        from sisu_pipeline.queueing.sandbox_provider import check_sandbox
        from sisu_pipeline.settings import PROJECT_ROOT, settings
        from sisu_pipeline.supervisor.stack_setup import prepare, stack_environment

        configuration = settings()
        locate(configuration)
        if queue is Queue.SANDBOX:
            check_sandbox(configuration)
        if queue is Queue.COMPILE:
            from sisu_pipeline.queueing.agent_provider import check_planner

            check_planner(configuration)
        program = _PROGRAMS[queue]
        environment = stack_environment(configuration, prepare(configuration), program)
        command = [sys.executable, "-m", "sisu_pipeline.worker", "--queue", queue.value]
        command += ["--processes", str(processes)] if processes else []
        # Replace this process: the worker forks, and must not inherit what this one has imported.
        os.chdir(PROJECT_ROOT)
        os.execve(sys.executable, command, environment)  # noqa: S606 - no shell is wanted
