"""Decide about many plans, assign runs, and name substitutes: further commands of `sisu gate`."""

import json
import sys
from typing import Annotated, Any

import typer

from sisu_pipeline.cli.commands.decision_commands import TIME_HELP, By, RunId, user_name, zoned_time
from sisu_pipeline.console.command_output import AsJson, Url, report_failures
from sisu_pipeline.console.exit_codes import FAILED, Failure


def decide(
    decision: Annotated[str, typer.Argument(metavar="approve|reject", help="Decision about each plan.")],
    plans: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN@SHA256…|-",
            help="Runs, each with the sha256 of the plan you read; - reads them from stdin.",
        ),
    ],
    reason: Annotated[str | None, typer.Option(help="Reason of a rejection, or notes on an approval.")] = None,
    by: By = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Approve or reject up to 200 plans; each has its own result. Exit with 1 if any was refused."""
    from sisu_pipeline.console import review_formatting
    from sisu_pipeline.console.api_client import Api

    with report_failures(as_json) as out:
        decisions = {"approve": "approved", "reject": "rejected"}
        if decision not in decisions:
            raise Failure(f"use approve or reject (got {decision})", "usage")
        given = sys.stdin.read().split() if plans == ["-"] else plans
        body = {"decision": decisions[decision], "decidedBy": by or user_name(), "plans": [*map(_plan, given)]}
        body |= {} if reason is None else {"reason": reason}
        decided = Api(url).post("gates", "decide", body=json.dumps(body).encode())
        out.print_result(decided, lambda: review_formatting.decisions(decided))
        if decided["refused"]:
            raise typer.Exit(FAILED)


def assign(
    run: RunId,
    who: Annotated[
        list[str] | None,
        typer.Argument(metavar="PERSON|@GROUP…", help="People and groups; none: assign to no one."),
    ] = None,
    reason: Annotated[str, typer.Option(help="Reason to record.")] = "",
    by: By = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Ask people and groups to decide about a run; the policy alone determines who may."""
    from sisu_pipeline.console.api_client import Api

    with report_failures(as_json) as out:
        names = who or []
        body = {
            "assignedBy": by or user_name(),
            "people": [name for name in names if not name.startswith("@")],
            "groups": [name[1:] for name in names if name.startswith("@")],
            "reason": reason,
        }
        stored = Api(url).post("runs", run, "assign", body=json.dumps(body).encode())
        asked = ", ".join([*stored["people"], *(f"@{group}" for group in stored["groups"])]) or "no one"
        out.print_result(stored, lambda: f"{stored['runId']} is assigned to {asked} since {stored['assignedAt']}")


def delegate(
    colleague: Annotated[str, typer.Argument(metavar="PERSON", help="Colleague who is the substitute.")],
    until: Annotated[str, typer.Option(help=f"End of the absence. {TIME_HELP}")],
    since: Annotated[
        str | None, typer.Option("--from", help="First moment of the absence.", show_default="now")
    ] = None,
    person: Annotated[
        str | None,
        typer.Option(
            "--for", help="Person who is away; another than you needs the role operator.", show_default="you"
        ),
    ] = None,
    reason: Annotated[str, typer.Option(help="Reason, which others can read.")] = "",
    by: By = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Name a substitute while a person is away, who gets no right by it."""
    with report_failures(as_json) as out:
        times = {"beginsAt": since and zoned_time(since), "endsAt": zoned_time(until)}
        stored = _delegate(url, by, person, {"delegate": colleague, "reason": reason, **times})
        period = f"from {stored['beginsAt']} to {stored['endsAt']}"
        out.print_result(stored, lambda: f"{stored['delegate']} substitutes for {stored['person']} {period}")


def back(
    person: Annotated[
        str | None,
        typer.Option(
            "--for", help="Person who is back; another than you needs the role operator.", show_default="you"
        ),
    ] = None,
    by: By = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """End the absence of a person: there is no substitute any more."""
    with report_failures(as_json) as out:
        stored = _delegate(url, by, person, {"delegate": None})
        out.print_result(stored, lambda: f"{stored['person']} is back since {stored['beginsAt']}")


def delegations(url: Url = None, as_json: AsJson = False) -> None:
    """List the substitutes, of now and later."""
    from sisu_pipeline.console import review_formatting
    from sisu_pipeline.console.api_client import Api

    with report_failures(as_json) as out:
        found = Api(url).get("delegations")
        out.print_result(found, lambda: review_formatting.delegations(found))


def register_review(app: typer.Typer) -> None:
    """Add these commands to a group of commands."""
    for command in (decide, assign, delegate, back, delegations):
        app.command()(command)


def _plan(text: str) -> dict[str, str]:
    run, at, sha256 = text.rpartition("@")
    if not (run and at):
        raise Failure(f"name the plan as RUN@SHA256 (got {text}); `sisu gate list --json` prints both", "usage")
    return {"runId": run, "planSha256": sha256}


def _delegate(url: str | None, by: str | None, person: str | None, members: dict[str, Any]) -> dict[str, Any]:
    from sisu_pipeline.console.api_client import Api

    body = {"recordedBy": by or user_name(), "person": person, **members}
    given = {name: value for name, value in body.items() if value is not None}
    stored: dict[str, Any] = Api(url).post("delegations", body=json.dumps(given).encode())
    return stored
