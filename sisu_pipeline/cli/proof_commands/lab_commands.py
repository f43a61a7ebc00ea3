"""`sisu lab`: fault injection and soak tests, each on a stack of its own, with a verdict computed in SQL."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sisu_pipeline.cli.proof_commands.source_checkout import require_source_checkout
from sisu_pipeline.console.command_output import AsJson, CommandOutput, print_line, report_failures
from sisu_pipeline.console.exit_codes import ENVIRONMENT_ERROR, FAILED, Failure

if TYPE_CHECKING:
    from sisu_pipeline.proof.harness.lab_rounds import Lab

app = typer.Typer(help="Run fault injection and soak labs, each on a stack of its own.", no_args_is_help=True)

Soak = Annotated[int, typer.Option(min=1, max=10_000, help="Number of repetitions.")]
Seed = Annotated[int, typer.Option(help="Seed of the fault schedule.")]
Report = Annotated[
    Path | None, typer.Option(dir_okay=False, help="Write the report to this JSON file.", show_default=False)
]
Count = Annotated[int, typer.Option(min=1, max=100_000, help="Number of waiting intents.")]

SEED = 424242


@app.command("fanout-soak")
def fanout_soak(soak: Soak = 1, seed: Seed = SEED, as_json: AsJson = False) -> None:
    """Kill the sandbox worker during a fan-out of 100 or more tasks (L08); every task must have one result."""
    with _lab(as_json) as out:
        from sisu_pipeline.proof.labs.fanout_soak import LAB

        _run(out, LAB, soak, seed)


@app.command("intent-chaos")
def intent_chaos(soak: Soak = 1, seed: Seed = SEED, as_json: AsJson = False) -> None:
    """Kill -9 the worker during ExecuteST (L13); another one must take over and repeat nothing."""
    with _lab(as_json) as out:
        from sisu_pipeline.proof.labs.intent_chaos import LAB

        _run(out, LAB, soak, seed)


@app.command("sandbox-soak")
def sandbox_soak(soak: Soak = 1, seed: Seed = SEED, as_json: AsJson = False) -> None:
    """Submit and approve a hundred intents one after another; all must succeed."""
    with _lab(as_json) as out:
        from sisu_pipeline.proof.labs.sandbox_soak import LAB

        _run(out, LAB, soak, seed)


@app.command("crashdemo")
def crashdemo(soak: Soak = 1, seed: Seed = SEED, as_json: AsJson = False) -> None:
    """Kill every process at once and start the stack again; the run must resume where it was."""
    with _lab(as_json) as out:
        from sisu_pipeline.proof.labs.crash_demo import LAB

        _run(out, LAB, soak, seed)


@app.command("restart")
def restart(count: Count = 1000, soak: Soak = 1, seed: Seed = SEED, as_json: AsJson = False) -> None:
    """Kill every process and Postgres while many intents wait for approval; all must succeed afterwards."""
    with _lab(as_json) as out:
        from sisu_pipeline.proof.labs.parked_restart import lab

        _run(out, lab(count), soak, seed)


@app.command()
def failover(
    rounds: Annotated[int, typer.Option(min=1, max=10_000, help="Number of failovers.")] = 1,
    seed: Seed = SEED,
    report: Report = None,
    as_json: AsJson = False,
) -> None:
    """Kill the primary under load and promote its standby; nothing that was acknowledged may be lost."""
    with _lab(as_json) as out:
        from sisu_pipeline.proof.labs.failover import lab

        _run(out, lab(), rounds, seed, report)


@app.command()
def chaos(
    minutes: Annotated[float, typer.Option(min=0.1, max=24 * 60, help="Minutes of fault injection.")] = 10.0,
    live: Annotated[
        bool, typer.Option("--live", help="Plan every intent with a scripted coding agent, 20 per minute.")
    ] = False,
    kill: Annotated[
        list[str] | None,
        typer.Option(
            help="Kill only this process (repeatable): intent-worker, sandbox-worker, planner-worker, agent, "
            "relay, spawner, model, api, daemon, code-server, webserver, postgres, everything.",
            show_default="every kind of fault",
        ),
    ] = None,
    seed: Seed = SEED,
    report: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Write the report to this Markdown file, and as JSON beside it."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Inject random faults under load; no intent may be lost, repeated or stuck."""
    with _lab(as_json) as out:
        from sisu_pipeline.proof.chaos import chaos_lab, chaos_report, fault_schedule

        if problem := fault_schedule.kill_problem(kill or (), live=live):
            raise Failure(problem, "unknown_process")
        chaos_run = chaos_lab.run(minutes, seed, live=live, kill=kill or ())
        document = chaos_run.report()
        if report is not None:
            chaos_report.write(document, report)
        out.print_result(
            document | {"data": str(chaos_run.home)}, lambda: chaos_report.summary(document, chaos_run.home)
        )
        _exit_unless(document["passed"])


@app.command()
def cuts(
    count: Annotated[
        int | None,
        typer.Option(min=1, help="Number of cuts, drawn by the seed.", show_default="every one, which takes hours"),
    ] = None,
    kill: Annotated[
        bool,
        typer.Option("--kill", help="Kill the process that sends the statement instead of cutting its connection."),
    ] = False,
    live: Annotated[bool, typer.Option("--live", help="Plan every intent with a scripted coding agent.")] = False,
    seed: Seed = SEED,
    report: Report = None,
    as_json: AsJson = False,
) -> None:
    """Cut the connection to Postgres before and after every statement; every intent must end correctly."""
    with _lab(as_json) as out:
        from sisu_pipeline.proof.chaos import connection_cuts

        document = connection_cuts.run(count, seed, kill_process=kill, live=live).report()
        _write(document, report)
        out.print_result(document, lambda: connection_cuts.summary(document))
        _exit_unless(document["passed"])


@app.command()
def gate(
    count: Annotated[int, typer.Option(min=10, max=100_000, help="Number of waiting intents.")] = 1000,
    clients: Annotated[int, typer.Option(min=1, max=500, help="Number of concurrent clients.")] = 20,
    soak: Soak = 1,
    seed: Seed = SEED,
    as_json: AsJson = False,
) -> None:
    """Decide on many waiting intents concurrently; each must be decided once and end as decided."""
    with _lab(as_json) as out:
        from sisu_pipeline.proof.labs.gate_load import lab

        _run(out, lab(count, clients), soak, seed)


@app.command("e2b-smoke")
def e2b_smoke(as_json: AsJson = False) -> None:
    """Run the sandbox checks against E2B with E2B_API_KEY; costs a few cents."""
    with _lab(as_json) as out:
        from sisu_pipeline.settings import settings

        if settings().e2b_api_key is None:
            raise Failure("e2b-smoke needs an E2B account; set E2B_API_KEY", "no_key", ENVIRONMENT_ERROR)
        from sisu_pipeline.proof.labs import e2b_smoke as lab

        report = lab.run(settings(), lambda line: None if as_json else print_line(f"  {line}"))
        verdict = "passed" if report["passed"] else "FAILED"
        out.print_result(report, lambda: f"e2b-smoke: {verdict}, boot {report['boot_ms']}")
        _exit_unless(report["passed"])


@app.command("agent-replay")
def agent_replay(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Recorded session (*.session.json).")],
    as_json: AsJson = False,
) -> None:
    """Play a recorded session of a coding agent; plan and changes must be the recorded ones."""
    with report_failures(as_json) as out:
        from sisu_pipeline.proof.labs import agent_replay as lab

        document = lab.run(file)
        out.print_result(document, lambda: lab.summary(document))
        _exit_unless(document["passed"])


@contextmanager
def _lab(as_json: bool) -> Iterator[CommandOutput]:
    with report_failures(as_json) as out:
        require_source_checkout("lab")
        # SIGTERM ends a lab as Ctrl-C does: it stops its stack and releases what it has mounted.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        yield out


def _run(out: CommandOutput, lab: "Lab", soak: int, seed: int, copy: Path | None = None) -> None:
    """Run a lab and print its report; `copy` is one more file to write it to."""
    from sisu_pipeline.proof.harness.lab_rounds import run

    report = run(lab, soak, seed)
    _write(report, copy)
    out.print_result(report, lambda: _as_text(report))
    _exit_unless(report["passed"])


def _write(report: dict[str, Any], path: Path | None) -> None:
    """Write a report to a file, if one is given, without the path of the data folder on this machine."""
    if path is not None:
        kept = {name: value for name, value in report.items() if name != "data"}
        path.write_text(json.dumps(kept, indent=2, default=str) + "\n")


def _exit_unless(passed: bool) -> None:
    if not passed:
        raise typer.Exit(FAILED)


def _as_text(report: dict[str, Any]) -> str:
    lines = [f"{report['lab']}: {report['rounds_passed']} of {report['soak']} passed, seed {report['seed']}"]
    lines += [f"  round {each['round']} FAILED: {each['error']}" for each in report["rounds"] if not each["passed"]]
    if report.get("error"):
        lines.append(f"  {report['error']}")
    verdict = report["verdict"]
    if verdict:
        lines.append(
            f"  oracle {verdict['laws']} laws, {len(verdict['broken'])} broken; "
            f"duplicate task keys {verdict['duplicate_task_keys']}; "
            f"receipts executed twice {verdict['repeated_receipts']}"
        )
        lines += [f"  broken: {law}: {rows[0]}" for law, rows in verdict["broken"].items()]
    lines += [f"  round {each['round']}: {each['evidence']}" for each in report["rounds"] if each["passed"]][-3:]
    lines.append(f"  report {report['data']}/report.json")
    lines.append(f"  inspect the data: SISU_HOME={report['data']} sisu db up, then sisu db psql")
    return "\n".join(lines)
