"""`sisu gate`: what waits for a person, and their word about it."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from sisu_pipeline.cli.commands.run_commands import By, PlanHash, RunId, decide, user
from sisu_pipeline.console.command_output import AsJson, Url, speaking
from sisu_pipeline.console.exit_codes import Failure

app = typer.Typer(help="See what waits for a person, and decide.", no_args_is_help=True)

GateKey = Annotated[str | None, typer.Option("--gate", help="Which gate; the one that waits by default.")]
_ASK = "ask-user"


@app.command("list")
def list_gates(url: Url = None, as_json: AsJson = False) -> None:
    """Every gate that waits, the most pressing first."""
    from sisu_pipeline.console import formatting
    from sisu_pipeline.console.api_client import Api

    with speaking(as_json) as voice:
        inbox = Api(url).get("inbox")
        gates, stranded = inbox["gates"], inbox["stranded"]
        voice.say({"gates": gates, "stranded": stranded}, lambda: formatting.inbox(gates, stranded))


@app.command()
def show(run: RunId, url: Url = None, as_json: AsJson = False) -> None:
    """A run's gates, its plan as it is now, and what was said."""
    from sisu_pipeline.console import formatting
    from sisu_pipeline.console.api_client import Api

    with speaking(as_json) as voice:
        api = Api(url)
        view = {**api.get("runs", run, "gates"), **api.get("runs", run, "interactions")}
        view["plan"] = api.get("runs", run, "plan")
        voice.say(view, lambda: formatting.gates(view))


@app.command()
def approve(
    run: RunId,
    by: By = None,
    notes: Annotated[str | None, typer.Option(help="Kept with the decision.")] = None,
    plan: PlanHash = None,
    edited: Annotated[
        Path | None, typer.Option("--edited", help="A JSON file: the plan as you changed it; needs --plan.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Approve a run's plan, or what you made of it; the first decision stands."""
    with speaking(as_json):
        changed = None if edited is None else _read(edited)
        body = {"approvedBy": by or user(), "notes": notes, "planSha256": plan, "plan": changed}
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
    with speaking(as_json):
        body = {"rejectedBy": by or user(), "reason": reason, "planSha256": plan}
    decide(run, "reject-plan", body, url, as_json)


@app.command()
def answer(
    run: RunId,
    content: Annotated[str, typer.Argument(metavar="JSON|@FILE", help="The answer: an object that fits the form.")],
    gate: GateKey = None,
    by: By = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Answer a run's question; the first answer that fits its form stands."""
    from sisu_pipeline.console.api_client import Api

    with speaking(as_json) as voice:
        api = Api(url)
        body = {"answeredBy": by or user(), "answer": _content(content)}
        key = gate or _asking(api.get("runs", run, "gates")["gates"])
        kept = api.post("runs", run, "gates", key, "answer", body=json.dumps(body).encode())
        voice.say(kept, lambda: f"{kept['runId']} answered at {kept['answeredAt']}")


def _asking(gates: list[dict[str, Any]]) -> str:
    keys: list[str] = [gate["gateKey"] for gate in gates if gate["purpose"] == _ASK]
    if not keys:
        raise Failure("this run asks nothing", "not_found")
    return keys[0]


def _content(text: str) -> Any:
    return _read(Path(text[1:])) if text.startswith("@") else _json(text, "the answer")


def _read(file: Path) -> Any:
    try:
        return _json(file.read_text(), str(file))
    except OSError as error:
        raise Failure(f"cannot read {file}: {error.strerror}", "no_file") from None


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Failure(f"{what} is not JSON: {error}", "invalid_json") from None
