"""`sisu bench`: measurements, each able to run the stock profile beside ours in the same call."""

import json
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Console

app = typer.Typer(help="Measurements on a stack of their own.", no_args_is_help=True)

Workers = Annotated[int, typer.Option(help="Intent worker processes.")]
SandboxWorkers = Annotated[int, typer.Option(help="Sandbox worker processes.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Stock = Annotated[int, typer.Option(help="Measure stock Dagster with this many intents too; 0 leaves it out.")]

_console = Console(stderr=True)


@app.command()
def intents(
    count: int = 200, tasks: int = 1, workers: Workers = 2, stock: Stock = 0, as_json: AsJson = False
) -> None:
    """Park and approve many intents: intents/s, CPU seconds per intent by component."""
    from sisu_pipeline.bench import measures

    ours = _watched(lambda tick: measures.intents(count, tasks, workers, tick))
    result: dict[str, Any] = {"bench": "intents", "ours": ours}
    if stock:
        theirs = _watched(lambda tick: measures.intents(stock, tasks, workers, tick, "stock"))
        result |= {"stock": theirs, "ratio": round(ours["intents_per_s"] / theirs["intents_per_s"], 1)}
    _print(result, as_json)


@app.command()
def resume(
    count: int = 20, tasks: int = 5, workers: Workers = 2, stock: Stock = 0, as_json: AsJson = False
) -> None:
    """One intent at a time: submit → waiting, approve → DecideST, approve → succeeded; medians."""
    from sisu_pipeline.bench import measures

    ours = _watched(lambda tick: measures.resume(count, tasks, workers, tick))
    result: dict[str, Any] = {"bench": "resume", "ours": ours}
    if stock:
        theirs = _watched(lambda tick: measures.resume(stock, tasks, workers, tick, "stock"))
        ratio = theirs["approve_to_end"]["median"] / ours["approve_to_end"]["median"]
        result |= {"stock": theirs, "ratio": round(ratio, 1)}
    _print(result, as_json)


@app.command()
def fanout(
    tasks: int = 100,
    seconds: float = 1.0,
    sandbox_workers: SandboxWorkers = 2,
    stock: Stock = 0,
    as_json: AsJson = False,
) -> None:
    """Many tasks in one run: approve → succeeded, overhead per task. `--stock N` runs N tasks on stock Dagster."""
    from sisu_pipeline.bench import measures

    ours = _watched(lambda tick: measures.fanout(tasks, seconds, sandbox_workers, tick))
    result: dict[str, Any] = {"bench": "fanout", "ours": ours}
    if stock:
        theirs = _watched(lambda tick: measures.fanout(stock, seconds, sandbox_workers, tick, "stock"))
        ratio = theirs["overhead_ms_per_task"] / max(ours["overhead_ms_per_task"], 0.001)
        result |= {"stock": theirs, "ratio": round(ratio, 1)}
    _print(result, as_json)


@app.command()
def parked(count: int = 1000, workers: Workers = 2, as_json: AsJson = False) -> None:
    """What waiting intents cost: memory, processes, threads, queue rows, connections, latency."""
    from sisu_pipeline.bench import measures

    _print({"bench": "parked", "ours": _watched(lambda tick: measures.parked(count, workers, tick))}, as_json)


def _watched(measure: Callable[[Callable[[str], None]], dict[str, Any]]) -> dict[str, Any]:
    with _console.status("starting a stack") as status:
        return measure(lambda message: status.update(message))


def _print(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result))
    else:
        Console().print_json(json.dumps(result))
