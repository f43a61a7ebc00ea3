"""`sisu run`: start, show, follow, decide, cancel and retry runs."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sisu_pipeline.cli.commands.decision_commands import (
    By,
    RunId,
    parse_json,
    register_decisions,
    user_name,
    zoned_time,
)
from sisu_pipeline.cli.commands.result_commands import register_results
from sisu_pipeline.console.command_output import AsJson, CommandOutput, Url, print_file, report_failures
from sisu_pipeline.console.exit_codes import Failure

if TYPE_CHECKING:
    from sisu_pipeline.console.api_client import Operated

app = typer.Typer(help="Start, list, show, follow, approve, reject, cancel and retry runs.", no_args_is_help=True)

Reason = Annotated[str, typer.Option(help="Reason to record.")]

_DEFAULTS = {"recipeName": "sandbox-default", "queuePartitionKey": "default"}


@app.command()
def start(
    intent: Annotated[str, typer.Argument(metavar="INTENT_ID", help="Id that `sisu intent submit` printed.")],
    recipe: Annotated[
        str | None,
        typer.Option(help="compile-default, sandbox-default or control-default.", show_default="sandbox-default"),
    ] = None,
    partition: Annotated[
        str | None, typer.Option(help="Queue partition (queuePartitionKey).", show_default="default")
    ] = None,
    lane: Annotated[str | None, typer.Option(help="Priority lane: interactive or batch.")] = None,
    tenant: Annotated[str | None, typer.Option(help="tenantId to record.")] = None,
    body: Annotated[
        str | None, typer.Option(help="Whole request as JSON; replaces the defaults, and options override it.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Start the run of an intent; repeating the same request returns the same run."""
    from sisu_pipeline.console.api_client import Api

    with report_failures(as_json) as out:
        request = dict(_DEFAULTS) if body is None else _object(body)
        given = {"recipeName": recipe, "queuePartitionKey": partition, "lane": lane, "tenantId": tenant}
        request |= {name: value for name, value in given.items() if value is not None}
        started = Api(url).start(intent, request)
        replay = " (already started)" if started["isReplay"] else ""
        replay += "".join(f"\n{each['field']} stays {each['kept']}" for each in started.get("kept", []))
        out.print_result(started, lambda: f"{started['runId']}{replay}\nNext: sisu run watch {started['runId']}")


@app.command("list")
def list_runs(
    status: Annotated[str | None, typer.Option(help="List only runs with this status.")] = None,
    limit: Annotated[int, typer.Option(help="Maximum number of runs.")] = 20,
    before: Annotated[str | None, typer.Option(help="List only runs older than this run id.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List runs, the newest first."""
    from sisu_pipeline.console import formatting
    from sisu_pipeline.console.api_client import Api

    with report_failures(as_json) as out:
        page = Api(url).runs(status=status, limit=limit, before=before)
        out.print_result(page, lambda: formatting.run_list(page))


@app.command()
def show(run: RunId, url: Url = None, as_json: AsJson = False) -> None:
    """Show a run: outcome, steps, gate, decision, tasks and artifacts; the first failed task with its errors."""
    from sisu_pipeline.console import formatting, task_formatting
    from sisu_pipeline.console.api_client import Api

    with report_failures(as_json) as out:
        api = Api(url)
        view = api.show(run)
        if as_json:
            out.print_result(view, str)
            return
        failed, passed = (
            api.get("runs", run, "tasks", result=result, limit=task_formatting.MOST_TASKS)["tasks"]
            for result in ("failed", "passed")
        )
        out.print_result(view, lambda: formatting.run(view, task_formatting.tasks(view, [*failed, *passed])))


@app.command()
def history(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="Run id or intent id; not with --all.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Show the changes of all runs, the newest first.")] = False,
    export: Annotated[
        str | None, typer.Option(metavar="csv|json", help="Print all changes that match, in this form.")
    ] = None,
    search: Annotated[str | None, typer.Option(help="Show only changes of runs that contain these words.")] = None,
    person: Annotated[str | None, typer.Option(help="Show only changes by this person.")] = None,
    event: Annotated[str | None, typer.Option(help="Show only changes of this kind, for example approved.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Show only changes of runs of this tenant.")] = None,
    since: Annotated[str | None, typer.Option(help="Show only changes at this ISO 8601 time or later.")] = None,
    until: Annotated[str | None, typer.Option(help="Show only changes before this ISO 8601 time.")] = None,
    limit: Annotated[int, typer.Option(help="Maximum number of changes, up to 200.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Cursor that the page before printed.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show who did what to a run, or to all runs, when, why and by which channel."""
    from sisu_pipeline.console import formatting, review_formatting
    from sisu_pipeline.console.api_client import Api

    with report_failures(as_json) as out:
        if (run is None) is not (every or export is not None):
            raise Failure("name a run, or use --all or --export", "usage")
        api = Api(url)
        if run is not None:
            events = api.get("runs", run, "history")["events"]
            out.print_result(events, lambda: formatting.history(events))
            return
        wanted = {
            "search": search,
            "person": person,
            "event": event,
            "tenant": tenant,
            "since": since and zoned_time(since),
            "until": until and zoned_time(until),
        }
        if export is not None:
            print_file(api.text("history", "export", format=export, **wanted))
            return
        page = api.get("history", limit=limit, cursor=cursor, **wanted)
        out.print_result(page, lambda: review_formatting.history_of_all(page))


@app.command()
def watch(
    run: RunId,
    until_gate: Annotated[
        bool, typer.Option("--until-gate", help="Stop with exit code 3 when the run waits for a human decision.")
    ] = False,
    output: Annotated[bool, typer.Option(help="Print the output of running tasks.")] = True,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Follow a run until it ends; exit 0 if it succeeded, otherwise 1."""
    from sisu_pipeline.console.api_client import Api
    from sisu_pipeline.console.run_watch import exit_status, follow

    with report_failures(as_json) as out:
        last = follow(Api(url), run, until_gate=until_gate, silent=as_json, output=output)
        if as_json:
            out.print_result(last, str)
        raise typer.Exit(exit_status(last))


@app.command()
def output(run: RunId, url: Url = None) -> None:
    """Follow the output of a run's tasks; each line starts with the task's position in the fan-out."""
    from sisu_pipeline.console.api_client import Api
    from sisu_pipeline.console.run_watch import follow_output

    with report_failures():
        follow_output(Api(url), run)


register_decisions(app)
register_results(app)


@app.command()
def cancel(run: RunId, reason: Reason = "", by: By = None, url: Url = None, as_json: AsJson = False) -> None:
    """Cancel a run: stop its tasks and roll its patches back."""
    from sisu_pipeline.console.api_client import Api

    with report_failures(as_json) as out:
        _print_operated(out, Api(url).cancel(run, by=by or user_name(), reason=reason))


@app.command()
def retry(run: RunId, reason: Reason = "", by: By = None, url: Url = None, as_json: AsJson = False) -> None:
    """Retry a failed run from its first step without a successful result."""
    from sisu_pipeline.console.api_client import Api

    with report_failures(as_json) as out:
        _print_operated(out, Api(url).retry(run, by=by or user_name(), reason=reason))


def _print_operated(out: CommandOutput, operated: "Operated") -> None:
    out.print_result(operated, lambda: f"{operated['runId']} is {operated['status']}")


def _object(text: str) -> dict[str, Any]:
    value = parse_json(text, "--body")
    if not isinstance(value, dict):
        raise Failure("--body must be a JSON object", "invalid_json")
    return value
