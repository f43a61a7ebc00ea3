"""`sisu gate`: list open gates, and decide or answer."""

import json
from pathlib import Path
from typing import Annotated, Any

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

app = typer.Typer(help="List open gates, decide about plans, and answer questions.", no_args_is_help=True)

GateKey = Annotated[str | None, typer.Option("--gate", help="Key of the gate.", show_default="the run's question")]
_ASK = "ask-user"


@app.command("list")
def list_gates(url: Url = None, as_json: AsJson = False) -> None:
    """List the open gates, the most urgent first; at most 200."""
    from sisu_pipeline.console import formatting
    from sisu_pipeline.console.api_client import Api

    with report_failures(as_json) as out:
        inbox = Api(url).get("inbox")
        gates, stranded, count = inbox["gates"], inbox["stranded"], inbox["gateCount"]
        document = {"gates": gates, "gateCount": count, "stranded": stranded}
        out.print_result(document, lambda: formatting.inbox(gates, stranded, count))


@app.command()
def show(run: RunId, url: Url = None, as_json: AsJson = False) -> None:
    """Show a run's gates, its current plan and the recorded interactions."""
    from sisu_pipeline.console import formatting
    from sisu_pipeline.console.api_client import Api

    with report_failures(as_json) as out:
        api = Api(url)
        view = {**api.get("runs", run, "gates"), **api.get("runs", run, "interactions")}
        view["plan"] = api.get("runs", run, "plan")
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
        body = {"answeredBy": by or user_name(), "answer": _content(content)}
        key = gate or _question_gate(run, api.get("runs", run, "gates")["gates"])
        stored = api.post("runs", run, "gates", key, "answer", body=json.dumps(body).encode())
        out.print_result(stored, lambda: f"{stored['runId']} answered at {stored['answeredAt']}")


def _question_gate(run: str, gates: list[dict[str, Any]]) -> str:
    keys: list[str] = [gate["gateKey"] for gate in gates if gate["purpose"] == _ASK]
    if not keys:
        raise Failure(f"run {run} has no question; `sisu gate show {run}` lists its gates", "not_found")
    return keys[0]


def _content(text: str) -> Any:
    return read_json_file(Path(text[1:])) if text.startswith("@") else parse_json(text, "the answer")
