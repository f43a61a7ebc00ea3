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
    from sisu_pipeline.proof.bench import engine_bench

    ours = _watched(lambda tick: engine_bench.intents(count, tasks, workers, tick))
    result: dict[str, Any] = {"bench": "intents", "ours": ours}
    if stock:
        theirs = _watched(lambda tick: engine_bench.intents(stock, tasks, workers, tick, "stock"))
        result |= {"stock": theirs, "ratio": round(ours["intents_per_s"] / theirs["intents_per_s"], 1)}
    _print(result, as_json)


@app.command()
def resume(
    count: int = 20, tasks: int = 5, workers: Workers = 2, stock: Stock = 0, as_json: AsJson = False
) -> None:
    """One intent at a time: submit → waiting, approve → DecideST, approve → succeeded; medians."""
    from sisu_pipeline.proof.bench import engine_bench

    ours = _watched(lambda tick: engine_bench.resume(count, tasks, workers, tick))
    result: dict[str, Any] = {"bench": "resume", "ours": ours}
    if stock:
        theirs = _watched(lambda tick: engine_bench.resume(stock, tasks, workers, tick, "stock"))
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
    from sisu_pipeline.proof.bench import engine_bench

    ours = _watched(lambda tick: engine_bench.fanout(tasks, seconds, sandbox_workers, tick))
    result: dict[str, Any] = {"bench": "fanout", "ours": ours}
    if stock:
        theirs = _watched(lambda tick: engine_bench.fanout(stock, seconds, sandbox_workers, tick, "stock"))
        ratio = theirs["overhead_ms_per_task"] / max(ours["overhead_ms_per_task"], 0.001)
        result |= {"stock": theirs, "ratio": round(ratio, 1)}
    _print(result, as_json)


@app.command()
def parked(count: int = 1000, workers: Workers = 2, as_json: AsJson = False) -> None:
    """What waiting intents cost: memory, processes, threads, queue rows, connections, latency."""
    from sisu_pipeline.proof.bench import engine_bench

    _print({"bench": "parked", "ours": _watched(lambda tick: engine_bench.parked(count, workers, tick))}, as_json)


@app.command()
def recovery(
    count: Annotated[int, typer.Option(min=1, help="How many workers are killed.")] = 20,
    workers: Workers = 2,
    seed: Annotated[int, typer.Option(help="The same seed kills at the same moments.")] = 424242,
    as_json: AsJson = False,
) -> None:
    """Kill -9 the worker of one intent after another in ExecuteST: how long it takes; exit 1 if anything is off."""
    from sisu_pipeline.proof.bench.recovery_bench import recovery as measure

    ours = _watched(lambda tick: measure(count, workers, seed, tick))
    _print({"bench": "recovery", "ours": ours}, as_json)
    raise typer.Exit(1 if ours["tasks_executed_twice"] or ours["broken_laws"] else 0)


@app.command()
def sandboxes(
    intents: Annotated[int, typer.Option(min=1)] = 100,
    tasks: Annotated[int, typer.Option(min=1, help="Tasks of each intent.")] = 20,
    concurrency: Annotated[int, typer.Option(min=1, help="Sandboxes at once, over all workers.")] = 16,
    workers: Workers = 2,
    sandbox_workers: SandboxWorkers = 2,
    as_json: AsJson = False,
) -> None:
    """Python starts in local sandboxes: tasks/s beside plain processes, what is left; exit 1 if anything is."""
    from sisu_pipeline.proof.bench.sandbox_bench import sandboxes as measure

    ours = _watched(lambda tick: measure(intents, tasks, concurrency, workers, sandbox_workers, tick))
    _print({"bench": "sandboxes", "ours": ours}, as_json)
    raise typer.Exit(0 if ours["passed"] else 1)


@app.command()
def cancel(
    rounds: Annotated[int, typer.Option(min=1, help="How many runs are canceled.")] = 20,
    tasks: Annotated[int, typer.Option(min=1, help="Tasks of each run; each has two processes.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Cancel runs whose tasks sleep: request → last process gone, → patches taken back; exit 1 if p95 ≥ 2 s."""
    from sisu_pipeline.proof.bench.cancel_bench import cancel as measure

    ours = _watched(lambda tick: measure(rounds, tasks, tick))
    _print({"bench": "cancel", "ours": ours}, as_json)
    raise typer.Exit(0 if ours["passed"] else 1)


def _watched(measure: Callable[[Callable[[str], None]], dict[str, Any]]) -> dict[str, Any]:
    with _console.status("starting a stack") as status:
        return measure(lambda message: status.update(message))


def _print(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result))
    else:
        Console().print_json(json.dumps(result))
