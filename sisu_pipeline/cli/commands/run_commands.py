"""`sisu run`: start, look at, watch and decide about runs."""

import json
import os
import pwd
from typing import Annotated, Any

import typer

from sisu_pipeline.console.command_output import AsJson, Url, speaking
from sisu_pipeline.console.exit_codes import Failure

app = typer.Typer(help="Start, look at, watch and decide about runs.", no_args_is_help=True)

RunId = Annotated[str, typer.Argument(metavar="RUN", help="A run id or an intent id.")]
Reason = Annotated[str, typer.Option(help="Stands in the run's record.")]
By = Annotated[str | None, typer.Option("--by", help="Who decides; your user name by default.")]
PlanHash = Annotated[str | None, typer.Option("--plan", help="sha256 of the plan you read; any other is refused.")]

_DEFAULTS = {"recipeName": "sandbox-default", "queuePartitionKey": "default"}


@app.command()
def start(
    intent: Annotated[str, typer.Argument(metavar="INTENT_ID")],
    recipe: Annotated[str | None, typer.Option(help="compile-default, sandbox-default, control-default.")] = None,
    partition: Annotated[str | None, typer.Option(help="queuePartitionKey: whose share of the queue.")] = None,
    lane: Annotated[str | None, typer.Option(help="interactive or batch.")] = None,
    tenant: Annotated[str | None, typer.Option(help="tenantId.")] = None,
    body: Annotated[str | None, typer.Option(help="The whole request as JSON; options are laid over it.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Start the one run of an intent (recipe sandbox-default, partition default); a repeat is a replay."""
    from sisu_pipeline.console.api_client import Api

    with speaking(as_json) as voice:
        request = dict(_DEFAULTS) if body is None else _object(body)
        given = {"recipeName": recipe, "queuePartitionKey": partition, "lane": lane, "tenantId": tenant}
        request |= {name: value for name, value in given.items() if value is not None}
        started = Api(url).post("intents", intent, "run", body=json.dumps(request).encode())
        again = " (it was started before)" if started["isReplay"] else ""
        voice.say(started, lambda: f"{started['runId']}{again}\nNext: sisu run watch {started['runId']}")


@app.command("list")
def list_runs(
    status: Annotated[str | None, typer.Option(help="Only runs in this status.")] = None,
    limit: Annotated[int, typer.Option(help="At most this many.")] = 20,
    before: Annotated[str | None, typer.Option(help="Older than this run.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """The newest runs first."""
    from sisu_pipeline.console import formatting
    from sisu_pipeline.console.api_client import Api

    with speaking(as_json) as voice:
        page = Api(url).get("runs", status=status, limit=limit, before=before)
        voice.say(page, lambda: formatting.run_list(page))


@app.command()
def show(run: RunId, url: Url = None, as_json: AsJson = False) -> None:
    """Everything about a run: steps, gate, decision, tasks, artifacts."""
    from sisu_pipeline.console import formatting
    from sisu_pipeline.console.api_client import Api

    with speaking(as_json) as voice:
        view = Api(url).get("runs", run)
        voice.say(view, lambda: formatting.run(view))


@app.command()
def watch(
    run: RunId,
    until_gate: Annotated[
        bool, typer.Option("--until-gate", help="Stop (exit 3) when the run waits for a person.")
    ] = False,
    output: Annotated[bool, typer.Option(help="Show what running tasks say.")] = True,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Follow a run to its end; exit 0 when it succeeded, 1 when it did not, 3 when it waits (--until-gate)."""
    from sisu_pipeline.console.api_client import Api
    from sisu_pipeline.console.run_watch import exit_status, follow

    with speaking(as_json) as voice:
        last = follow(Api(url), run, until_gate=until_gate, silent=as_json, output=output)
        if as_json:
            voice.say(last, str)
        raise typer.Exit(exit_status(last))


@app.command()
def output(run: RunId, url: Url = None) -> None:
    """Follow what a run's tasks say while they run, each line after its task's place in the fan-out."""
    from sisu_pipeline.console.api_client import Api
    from sisu_pipeline.console.run_watch import follow_output

    with speaking():
        follow_output(Api(url), run)


@app.command()
def approve(
    run: RunId,
    by: By = None,
    notes: Annotated[str | None, typer.Option(help="Kept with the decision.")] = None,
    plan: PlanHash = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Approve a run's plan, before or after its gate opens; the first decision stands."""
    body = {"approvedBy": by or user(), "notes": notes, "planSha256": plan}
    decide(run, "approve-plan", body, url, as_json)


@app.command()
def reject(
    run: RunId,
    reason: Annotated[str, typer.Option(help="What the submitter will read.")],
    by: By = None,
    plan: PlanHash = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Reject a run's plan: its patches are taken back and the run ends."""
    body = {"rejectedBy": by or user(), "reason": reason, "planSha256": plan}
    decide(run, "reject-plan", body, url, as_json)


@app.command()
def cancel(run: RunId, reason: Reason = "", by: By = None, url: Url = None, as_json: AsJson = False) -> None:
    """End a run now: what runs is stopped, what was patched is taken back."""
    _operate(run, "cancel", reason, by, url, as_json)


@app.command()
def retry(run: RunId, reason: Reason = "", by: By = None, url: Url = None, as_json: AsJson = False) -> None:
    """Try a failed run again from its first step without a good result."""
    _operate(run, "retry", reason, by, url, as_json)


def _operate(run: str, verb: str, reason: str, by: str | None, url: str | None, as_json: bool) -> None:
    from sisu_pipeline.console.api_client import Api

    with speaking(as_json) as voice:
        body = {"actor": by or user(), "reason": reason}
        operated = Api(url).post("runs", run, verb, body=json.dumps(body).encode())
        voice.say(operated, lambda: f"{operated['runId']} is {operated['status']}")


def decide(run: str, verb: str, body: dict[str, Any], url: str | None, as_json: bool) -> None:
    """Send a decision about a plan and say what stands."""
    from sisu_pipeline.console.api_client import Api

    with speaking(as_json) as voice:
        given = {name: value for name, value in body.items() if value is not None}
        decided = Api(url).post("runs", run, verb, body=json.dumps(given).encode())
        what, when = ("rejected", "rejectedAt") if verb == "reject-plan" else ("approved", "approvedAt")
        joined = decided.get("approvals")
        count = f": {joined['given']} of {joined['required']} have approved" if joined else ""
        voice.say(decided, lambda: f"{decided['runId']} {what} at {decided[when]}{count}")


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise Failure(f"--body is not JSON: {error}", "invalid_json") from None
    if not isinstance(value, dict):
        raise Failure("--body must be a JSON object", "invalid_json")
    return value


def user() -> str:
    """This machine's name for whoever types. Raises Failure when it has none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        raise Failure("this user has no name: say who decides with --by", "no_user") from None
