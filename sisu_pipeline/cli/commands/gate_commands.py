"""`sisu gate`: list open gates, assign them, and decide or answer."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sisu_pipeline.cli.commands.decision_commands import (
    By,
    RunId,
    parse_json,
    read_json_file,
    register_decisions,
    user_name,
)
from sisu_pipeline.console.command_output import AsJson, Url, report_failures
from sisu_pipeline.console.exit_codes import Failure

if TYPE_CHECKING:
    from sisu_pipeline.console.api_client import GateEntry

app = typer.Typer(
    help="List and assign open gates, decide about plans, and answer questions.", no_args_is_help=True
)

GateKey = Annotated[str | None, typer.Option("--gate", help="Key of the gate.", show_default="the run's question")]
_ASK = "ask-user"


@app.command("list")
def list_gates(
    search: Annotated[
        str | None,
        typer.Option(
            help="List only gates whose goal, ids, recipe, tenant, submitters or files contain these words."
        ),
    ] = None,
    mine: Annotated[bool, typer.Option("--mine", help="List only gates that ask you.")] = False,
    team: Annotated[bool, typer.Option("--team", help="List only gates that ask a group of yours.")] = False,
    unassigned: Annotated[
        bool, typer.Option("--unassigned", help="List only gates that ask no one in particular.")
    ] = False,
    overdue: Annotated[bool, typer.Option("--overdue", help="List only gates whose deadline has passed.")] = False,
    due_within: Annotated[
        int | None, typer.Option(metavar="SECONDS", help="List only gates whose deadline passes within this time.")
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="List only gates of this tenant.")] = None,
    limit: Annotated[int, typer.Option(help="Maximum number of gates, up to 200.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Cursor that the page before printed.")] = None,
    by: Annotated[
        str | None, typer.Option("--by", help="Person whose gates are listed; a token's owner takes precedence.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List the open gates, the most urgent first."""
    from sisu_pipeline.console import review_formatting
    from sisu_pipeline.console.api_client import Api

    with report_failures(as_json) as out:
        asked = _asked(mine, team, unassigned)
        wanted = {
            "search": search,
            "asked": asked,
            "person": (by or user_name()) if asked in ("me", "team") else None,
            "dueWithinS": 0 if overdue else due_within,
            "tenant": tenant,
            "cursor": cursor,
        }
        api = Api(url)
        page = api.open_gates(limit=limit, **wanted)
        stranded = [] if any(value is not None for value in wanted.values()) else api.get("inbox")["stranded"]
        document = {
            "gates": page["gates"],
            "gateCount": page["count"],
            "nextCursor": page["nextCursor"],
            "stranded": stranded,
        }
        out.print_result(document, lambda: review_formatting.inbox(document))


@app.command()
def show(run: RunId, url: Url = None, as_json: AsJson = False) -> None:
    """Show a run's gates, its current plan and the recorded interactions."""
    from sisu_pipeline.console import formatting
    from sisu_pipeline.console.api_client import Api

    with report_failures(as_json) as out:
        api = Api(url)
        view = {**api.gates(run), **api.get("runs", run, "interactions"), "plan": api.plan(run)}
        out.print_result(view, lambda: formatting.gates(view))


register_decisions(app)


@app.command()
def answer(
    run: RunId,
    content: Annotated[
        str, typer.Argument(metavar="JSON|@FILE", help="JSON object that fits the form, or @ and a file with one.")
    ],
    gate: GateKey = None,
    by: By = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Answer a run's question; the first answer that fits its form is final."""
    from sisu_pipeline.console.api_client import Api

    with report_failures(as_json) as out:
        api = Api(url)
        name, answered = by or user_name(), _content(content)
        key = gate or _question_gate(run, api.gates(run)["gates"])
        stored = api.answer(run, key, answered, by=name)
        out.print_result(stored, lambda: f"{stored['runId']} answered at {stored['answeredAt']}")


def _asked(mine: bool, team: bool, unassigned: bool) -> str | None:
    """Whom the listed gates ask, as the API names it. Raises Failure when the options exclude each other."""
    chosen = [name for name, is_set in (("me", mine), ("team", team), (("unassigned", unassigned))) if is_set]
    if len(chosen) > 1:
        raise Failure("use only one of --mine, --team and --unassigned", "usage")
    return chosen[0] if chosen else None


def _question_gate(run: str, gates: "list[GateEntry]") -> str:
    keys = [gate["gateKey"] for gate in gates if gate["purpose"] == _ASK]
    if not keys:
        raise Failure(f"run {run} has no question; `sisu gate show {run}` lists its gates", "not_found")
    return keys[0]


def _content(text: str) -> Any:
    return read_json_file(Path(text[1:])) if text.startswith("@") else parse_json(text, "the answer")
