"""Approve or reject a plan, or request changes to it: registered under both `sisu run` and `sisu gate`."""

import json
import os
import pwd
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from sisu_pipeline.console.command_output import AsJson, Url, report_failures
from sisu_pipeline.console.exit_codes import Failure

TIME_HELP = "ISO 8601 time, for example 2030-01-31T17:00; without a zone it is in this machine's."
RunId = Annotated[str, typer.Argument(metavar="RUN", help="Run id or intent id.")]
By = Annotated[
    str | None,
    typer.Option("--by", help="Name to record; a token's owner takes precedence.", show_default="user name"),
]
PlanHash = Annotated[
    str | None,
    typer.Option("--plan", help="sha256 of the plan you read; the request fails if the plan has changed."),
]


def approve(
    run: RunId,
    by: By = None,
    notes: Annotated[str | None, typer.Option(help="Notes to record with the decision.")] = None,
    plan: PlanHash = None,
    edited: Annotated[
        Path | None, typer.Option("--edited", help="JSON file with the plan as you changed it; requires --plan.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Approve a run's plan or an edited version of it, also before its gate opens; the first decision is final."""
    from sisu_pipeline.console.api_client import Api

    with report_failures(as_json) as out:
        changed = None if edited is None else read_json_file(edited)
        name = by or user_name()
        decided = Api(url).approve(run, by=name, notes=notes, plan_sha256=plan, plan=changed)
        quorum = decided.get("approvals")
        count = f": {quorum['given']} of {quorum['required']} approvals given" if quorum else ""
        out.print_result(decided, lambda: f"{decided['runId']} approved at {decided['approvedAt']}{count}")


def reject(
    run: RunId,
    reason: Annotated[str, typer.Option(help="Reason to record; the submitter sees it.")],
    by: By = None,
    plan: PlanHash = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Reject a run's plan, roll its patches back and end the run; the first decision is final."""
    from sisu_pipeline.console.api_client import Api

    with report_failures(as_json) as out:
        decided = Api(url).reject(run, by=by or user_name(), reason=reason, plan_sha256=plan)
        out.print_result(decided, lambda: f"{decided['runId']} rejected at {decided['rejectedAt']}")


def request_changes(
    run: RunId,
    comment: Annotated[str, typer.Option(help="What to change, for the coding agent.")],
    by: By = None,
    plan: PlanHash = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Request changes to a run's plan: a coding agent plans again, and the gate opens for its plan."""
    from sisu_pipeline.console.api_client import Api

    with report_failures(as_json) as out:
        stored = Api(url).request_changes(run, by=by or user_name(), comment=comment, plan_sha256=plan)
        out.print_result(
            stored,
            lambda: f"{stored['runId']} changes requested at {stored['requestedAt']}, round {stored['round']}",
        )


def register_decisions(app: typer.Typer) -> None:
    """Add the decisions about a plan to a group of commands."""
    app.command()(approve)
    app.command()(reject)
    app.command()(request_changes)


def user_name() -> str:
    """The name of the operating system user. Raises Failure when the user has none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        raise Failure(f"uid {os.getuid()} has no user name; name the person with --by", "no_user") from None


def read_json_file(file: Path) -> Any:
    """The JSON value in a file. Raises Failure when it cannot be read or parsed."""
    try:
        return parse_json(file.read_bytes(), str(file))
    except OSError as error:
        raise Failure(f"cannot read {file}: {error.strerror}", "no_file") from None


def parse_json(text: str | bytes, name: str) -> Any:
    """Parse JSON; bytes are UTF-8. Raises Failure, which calls the text by `name`."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise Failure(f"{name} is not valid JSON: {error}", "invalid_json") from None


def zoned_time(text: str) -> str:
    """An ISO 8601 time with its zone, in UTC. Raises Failure."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC).isoformat()
    except ValueError:
        raise Failure(f"{text} is not a time. {TIME_HELP}", "usage") from None
