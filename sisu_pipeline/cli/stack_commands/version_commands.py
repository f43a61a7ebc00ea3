"""`sisu version`: versions during an upgrade. It works in the database: the API may be stopped meanwhile."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sisu_pipeline.cli.commands.decision_commands import user_name
from sisu_pipeline.console.command_output import AsJson, report_failures
from sisu_pipeline.console.exit_codes import Failure

if TYPE_CHECKING:
    from sisu_pipeline.store.queues.versions import Adoption, VersionState

app = typer.Typer(help="List application versions and hand work over to a newer one.", no_args_is_help=True)


@app.command("list")
def list_versions(as_json: AsJson = False) -> None:
    """List the versions that have unfinished runs, queued work, workers or a successor."""
    from sisu_pipeline.console import formatting
    from sisu_pipeline.database_server import locate
    from sisu_pipeline.settings import settings
    from sisu_pipeline.store.queues import versions
    from sisu_pipeline.supervisor.stack_settings import database_settings

    with report_failures(as_json) as out:
        with locate(database_settings(settings())).connect() as connection:
            found = versions.states(connection)
        rows: list[tuple[str, ...]] = [("VERSION", "UNFINISHED", "ENQUEUED", "PENDING", "WORKERS", "SUCCESSOR")]
        rows += [_row(state) for state in found]
        documents = [_document(state) for state in found]
        out.print_result(documents, lambda: formatting.table(rows) if found else "No run is unfinished.")


@app.command()
def adopt(
    old: Annotated[str, typer.Argument(metavar="OLD", help="Version whose work is handed over.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Version whose workers finish it.")],
    reason: Annotated[str, typer.Option("--reason", help="Reason to record.")] = "",
    while_running: Annotated[
        bool, typer.Option("--while-running", help="Adopt although workers of OLD execute work; they finish it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Declare that workers of NEW finish the work of OLD, now and later. A declaration is final."""
    from pydantic import ValidationError

    from sisu_pipeline.contracts.gate import Channel
    from sisu_pipeline.contracts.operation import VersionAdoption
    from sisu_pipeline.database_server import locate
    from sisu_pipeline.domain.errors import AdoptionRefused
    from sisu_pipeline.settings import settings
    from sisu_pipeline.store.queues import versions

    with report_failures(as_json) as out:
        try:
            request = VersionAdoption(old_version=old, new_version=new, reason=reason, while_running=while_running)
        except ValidationError:
            raise Failure(
                "a version has 1 to 1000 characters, and a reason at most 2000", "invalid_request"
            ) from None
        try:
            with locate(settings()).connect() as connection:
                adopted = versions.adopt(connection, request, user_name(), Channel.CLI)
        except AdoptionRefused as refusal:
            raise Failure(str(refusal), "adoption_refused") from None
        document = {
            **_declaration(adopted.adoption),
            "isReplay": adopted.is_replay,
            "handedOver": adopted.handed_over,
        }
        out.print_result(
            document,
            lambda: (
                f"workers of {new} finish the work of {old}; {adopted.handed_over} workflow(s) were handed over"
            ),
        )


def _row(state: "VersionState") -> tuple[str, ...]:
    counts = (state.unfinished_runs, state.enqueued, state.pending, state.workers)
    return (state.version, *map(str, counts), "-" if state.adoption is None else state.adoption.new_version)


def _document(state: "VersionState") -> dict[str, Any]:
    return {
        "version": state.version,
        "unfinishedRuns": state.unfinished_runs,
        "enqueued": state.enqueued,
        "pending": state.pending,
        "workers": state.workers,
        "adoption": None if state.adoption is None else _declaration(state.adoption),
    }


def _declaration(adoption: "Adoption") -> dict[str, Any]:
    return {
        "oldVersion": adoption.old_version,
        "newVersion": adoption.new_version,
        "adoptedBy": adoption.adopted_by,
        "channel": adoption.channel,
        "reason": adoption.reason,
        "adoptedAt": adoption.adopted_at.isoformat(),
    }
