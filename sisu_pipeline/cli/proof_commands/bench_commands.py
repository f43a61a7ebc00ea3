"""`sisu bench`: measurements on a stack of their own; some also measure stock Dagster for comparison."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from sisu_pipeline.cli.proof_commands.source_checkout import require_source_checkout
from sisu_pipeline.console.command_output import AsJson, CommandOutput, report_failures, to_json_text
from sisu_pipeline.console.exit_codes import FAILED, Failure

app = typer.Typer(help="Measure throughput, latency, memory and recovery.", no_args_is_help=True)

Tasks = Annotated[int, typer.Option(help="Sandbox tasks per intent.")]
Workers = Annotated[int, typer.Option(help="Number of intent worker processes.")]
SandboxWorkers = Annotated[int, typer.Option(help="Number of sandbox worker processes.")]
Stock = Annotated[int, typer.Option(help="Also measure stock Dagster with this many intents; 0 skips it.")]

ReportStatus = Callable[[str], None]
Result = dict[str, Any]


@app.command()
def intents(
    count: Annotated[int, typer.Option(help="Number of intents.")] = 200,
    tasks: Tasks = 1,
    workers: Workers = 2,
    stock: Stock = 0,
    partitions: Annotated[int, typer.Option(min=1, help="Queue partitions that the intents are spread over.")] = 1,
    default_limits: Annotated[
        bool, typer.Option("--default-limits", help="Keep the default limits of the queues.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure throughput: submit all intents, approve all; intents/s and CPU seconds per intent by component."""
    with _bench(as_json) as out:
        from sisu_pipeline.proof.bench import bench_stack, engine_bench

        limits = {} if default_limits else bench_stack.NO_LIMITS
        ours = _measure(
            lambda status: engine_bench.intents(count, tasks, workers, status, partitions=partitions, limits=limits)
        )
        result: Result = {"bench": "intents", "ours": ours}
        if stock:
            theirs = _measure(lambda status: engine_bench.intents(stock, tasks, workers, status, "stock"))
            result |= {"stock": theirs, "ratio": round(ours["intents_per_s"] / theirs["intents_per_s"], 1)}
        _print(out, result)


@app.command()
def resume(
    count: Annotated[int, typer.Option(help="Number of intents.")] = 20,
    tasks: Tasks = 5,
    workers: Workers = 2,
    stock: Stock = 0,
    as_json: AsJson = False,
) -> None:
    """Measure latency, one intent at a time: submit → waiting, approve → DecideST, approve → succeeded."""
    with _bench(as_json) as out:
        from sisu_pipeline.proof.bench import engine_bench

        ours = _measure(lambda status: engine_bench.resume(count, tasks, workers, status))
        result: Result = {"bench": "resume", "ours": ours}
        if stock:
            theirs = _measure(lambda status: engine_bench.resume(stock, tasks, workers, status, "stock"))
            ratio = theirs["approve_to_end"]["median"] / ours["approve_to_end"]["median"]
            result |= {"stock": theirs, "ratio": round(ratio, 1)}
        _print(out, result)


@app.command()
def fanout(
    tasks: Annotated[int, typer.Option(min=1, help="Number of sandbox tasks in the run.")] = 100,
    seconds: Annotated[float, typer.Option(help="Duration of each task in seconds.")] = 1.0,
    sandbox_workers: SandboxWorkers = 2,
    stock: Annotated[int, typer.Option(help="Also measure stock Dagster with this many tasks; 0 skips it.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Measure the fan-out of one run: approve → succeeded, and the overhead per task."""
    with _bench(as_json) as out:
        from sisu_pipeline.proof.bench import engine_bench

        ours = _measure(lambda status: engine_bench.fanout(tasks, seconds, sandbox_workers, status))
        result: Result = {"bench": "fanout", "ours": ours}
        if stock:
            theirs = _measure(lambda status: engine_bench.fanout(stock, seconds, sandbox_workers, status, "stock"))
            ratio = theirs["overhead_ms_per_task"] / max(ours["overhead_ms_per_task"], 0.001)
            result |= {"stock": theirs, "ratio": round(ratio, 1)}
        _print(out, result)


@app.command()
def parked(
    count: Annotated[int, typer.Option(help="Number of waiting intents.")] = 1000,
    workers: Workers = 2,
    as_json: AsJson = False,
) -> None:
    """Measure the cost of waiting intents: memory, processes, threads, queue rows, connections and latency."""
    with _bench(as_json) as out:
        from sisu_pipeline.proof.bench import engine_bench

        ours = _measure(lambda status: engine_bench.parked(count, workers, status))
        _print(out, {"bench": "parked", "ours": ours})


@app.command()
def recovery(
    count: Annotated[int, typer.Option(min=1, help="Number of workers to kill.")] = 20,
    workers: Workers = 2,
    seed: Annotated[int, typer.Option(help="Seed of the kill times.")] = 424242,
    as_json: AsJson = False,
) -> None:
    """Measure recovery: kill -9 workers in ExecuteST; exit 1 if a task ran twice or a law is broken."""
    with _bench(as_json) as out:
        from sisu_pipeline.proof.bench.recovery_bench import recovery as measure

        ours = _measure(lambda status: measure(count, workers, seed, status))
        _print(out, {"bench": "recovery", "ours": ours})
        _exit_unless(not ours["tasks_executed_twice"] and not ours["broken_laws"])


@app.command()
def sandboxes(
    intents: Annotated[int, typer.Option(min=1, help="Number of intents.")] = 100,
    tasks: Annotated[int, typer.Option(min=1, help="Sandbox tasks per intent.")] = 20,
    concurrency: Annotated[int, typer.Option(min=1, help="Concurrent sandboxes over all workers.")] = 16,
    workers: Workers = 2,
    sandbox_workers: SandboxWorkers = 2,
    as_json: AsJson = False,
) -> None:
    """Measure local sandboxes: tasks/s compared with plain processes; exit 1 if anything is left behind."""
    with _bench(as_json) as out:
        from sisu_pipeline.proof.bench.sandbox_bench import sandboxes as measure

        ours = _measure(lambda status: measure(intents, tasks, concurrency, workers, sandbox_workers, status))
        _print(out, {"bench": "sandboxes", "ours": ours})
        _exit_unless(ours["passed"])


@app.command()
def cancel(
    rounds: Annotated[int, typer.Option(min=1, help="Number of runs to cancel.")] = 20,
    tasks: Annotated[int, typer.Option(min=1, help="Tasks per run, each with two processes.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Measure cancellation: request → last process gone, → patches rolled back; exit 1 if p95 ≥ 2 s."""
    with _bench(as_json) as out:
        from sisu_pipeline.proof.bench.cancel_bench import cancel as measure

        ours = _measure(lambda status: measure(rounds, tasks, status))
        _print(out, {"bench": "cancel", "ours": ours})
        _exit_unless(ours["passed"])


@app.command()
def repository(
    files: Annotated[int, typer.Option(min=1, help="Files of the repository.")] = 2000,
    rounds: Annotated[int, typer.Option(min=1, help="Runs on the repository, and on an empty folder.")] = 7,
    workers: Workers = 2,
    as_json: AsJson = False,
) -> None:
    """Measure runs on a repository: submit → plan, 50 tasks in local sandboxes; exit 1 over a target."""
    with _bench(as_json) as out:
        from sisu_pipeline.proof.bench.repository_bench import repository as measure

        ours = _measure(lambda status: measure(files, rounds, workers, status))
        _print(out, {"bench": "repository", "ours": ours})
        _exit_unless(ours["passed"])


@contextmanager
def _bench(as_json: bool) -> Iterator[CommandOutput]:
    with report_failures(as_json) as out:
        require_source_checkout("bench")
        from sisu_pipeline.proof.harness.lab_stack import LabFailed

        try:
            yield out
        except LabFailed as failure:
            # The measurement failed, not the environment.
            raise Failure(str(failure), failure.code) from None


def _measure(measurement: Callable[[ReportStatus], Result]) -> Result:
    """Run a measurement; its status is shown on stderr when that is a terminal."""
    from rich.console import Console

    with Console(stderr=True).status("starting a stack") as status:
        return measurement(lambda message: status.update(message))


def _print(out: CommandOutput, result: Result) -> None:
    out.print_result(result, lambda: to_json_text(result))


def _exit_unless(passed: bool) -> None:
    if not passed:
        raise typer.Exit(FAILED)
