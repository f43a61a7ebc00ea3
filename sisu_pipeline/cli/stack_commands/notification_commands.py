"""`sisu notification`: list and test the receivers of notifications, or send to them."""

import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sisu_pipeline.console.command_output import AsJson, report_failures
from sisu_pipeline.console.exit_codes import ENVIRONMENT_ERROR, FAILED, Failure

if TYPE_CHECKING:
    from sisu_pipeline.queueing.notification_provider import OpenReceiver
    from sisu_pipeline.settings import Settings
    from sisu_pipeline.store.queues.notification_outbox import ReceiverState

app = typer.Typer(help="List and test the receivers of notifications.", no_args_is_help=True)

_HEADINGS = ("RECEIVER", "EVENTS", "WAITING", "FAILED", "LAST", "ENDED", "ERROR")


@app.command("list")
def list_receivers(as_json: AsJson = False) -> None:
    """List the receivers that the notifier serves, with the state of their deliveries."""
    from sisu_pipeline.console.formatting import table
    from sisu_pipeline.settings import settings
    from sisu_pipeline.store.queues import notification_outbox
    from sisu_pipeline.supervisor.stack_health import brief_connection
    from sisu_pipeline.supervisor.stack_settings import database_settings

    with report_failures(as_json) as out:
        with brief_connection(database_settings(settings())) as connection:
            states = notification_outbox.states(connection)
        rows = [_HEADINGS, *map(_row, states)]
        out.print_result([_document(state) for state in states], lambda: table(rows))


@app.command()
def test(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Name of a receiver; if omitted, every receiver.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send a test message to the receivers of SISU_NOTIFICATIONS; exit 1 when one does not accept it."""
    with report_failures(as_json) as out:
        from sisu_pipeline.console.formatting import table
        from sisu_pipeline.domain.notifications.notification_message import sample
        from sisu_pipeline.settings import settings
        from sisu_pipeline.supervisor.stack_settings import reported

        configuration = reported(settings()).settings
        results: dict[str, str | None] = {}
        for receiver in _chosen(configuration, name):
            message = sample(receiver.name, configuration.api_url, datetime.now(UTC))
            refusal = receiver.channel.send(message)
            results[receiver.name] = None if refusal is None else refusal.error
        rows = [("RECEIVER", "RESULT"), *((each, error or "accepted") for each, error in results.items())]
        out.print_result(results, lambda: table(rows))
        if any(results.values()):
            raise typer.Exit(FAILED)


@app.command()
def send() -> None:
    """Send notifications until Ctrl-C, on DATABASE_URL or the embedded database; `sisu start` does so itself."""
    with report_failures():
        from sisu_pipeline.settings import PROJECT_ROOT, settings
        from sisu_pipeline.supervisor.stack_setup import prepare, stack_environment

        configuration = settings()
        _chosen(configuration, None)
        environment = stack_environment(configuration, prepare(configuration), "notifier")
        os.chdir(PROJECT_ROOT)
        command = [sys.executable, "-m", "sisu_pipeline.worker.notifier"]
        os.execve(sys.executable, command, environment)  # noqa: S606 - no shell is wanted


def _chosen(configuration: "Settings", name: str | None) -> "list[OpenReceiver]":
    """The receivers of the file, or the one with this name."""
    from sisu_pipeline.queueing.notification_provider import open_receivers

    if configuration.sisu_notifications is None:
        message = "no receivers are configured: set SISU_NOTIFICATIONS to a JSON file that lists them"
        raise Failure(message, "notifications", ENVIRONMENT_ERROR)
    found = open_receivers(configuration)
    chosen = [receiver for receiver in found if name in (None, receiver.name)]
    if name is not None and not chosen:
        names = ", ".join(receiver.name for receiver in found) or "none"
        raise Failure(f"unknown receiver {name!r}: the file lists {names}", "notifications")
    return chosen


def _row(state: "ReceiverState") -> tuple[str, ...]:
    ended = (
        "-" if state.last_ended_at is None else state.last_ended_at.astimezone(UTC).isoformat(timespec="seconds")
    )
    counts = (str(state.waiting), str(state.failed))
    return (state.name, ", ".join(state.events), *counts, state.last_state or "-", ended, state.trouble or "-")


def _document(state: "ReceiverState") -> dict[str, Any]:
    return {**asdict(state), "last_ended_at": state.last_ended_at and state.last_ended_at.isoformat()}
