"""`sisu lab`: the seed's soak and chaos labs, each on a stack of its own, with a verdict from SQL."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sisu_pipeline.console.command_output import AsJson, speaking, write
from sisu_pipeline.console.exit_codes import CANNOT_WORK, REFUSED, Failure

if TYPE_CHECKING:
    from sisu_pipeline.proof.harness.lab_rounds import Lab

app = typer.Typer(help="Soak and chaos labs.", no_args_is_help=True)

Soak = Annotated[int, typer.Option(min=1, max=10_000, help="How many times.")]
Seed = Annotated[int, typer.Option(help="The same seed is the same schedule of faults.")]

SEED = 424242


@app.command("fanout-soak")
def fanout_soak(soak: Soak = 1, seed: Seed = SEED, as_json: AsJson = False) -> None:
    """L08: one run of 100 tasks and more; the sandbox worker is killed; every task has one result."""
    from sisu_pipeline.proof.labs.fanout_soak import LAB

    _run(LAB, soak, seed, as_json)


@app.command("intent-chaos")
def intent_chaos(soak: Soak = 1, seed: Seed = SEED, as_json: AsJson = False) -> None:
    """L13: kill -9 of the worker during ExecuteST; another one goes on; nothing happens twice."""
    from sisu_pipeline.proof.labs.intent_chaos import LAB

    _run(LAB, soak, seed, as_json)


@app.command("sandbox-soak")
def sandbox_soak(soak: Soak = 1, seed: Seed = SEED, as_json: AsJson = False) -> None:
    """A hundred intents one after another, every one succeeds; percentiles."""
    from sisu_pipeline.proof.labs.sandbox_soak import LAB

    _run(LAB, soak, seed, as_json)


@app.command("crashdemo")
def crashdemo(soak: Soak = 1, seed: Seed = SEED, as_json: AsJson = False) -> None:
    """Kill every process at once, start again: the run goes on where it was."""
    from sisu_pipeline.proof.labs.crash_demo import LAB

    _run(LAB, soak, seed, as_json)


@app.command("restart")
def restart(
    count: Annotated[int, typer.Option(min=1, max=100_000, help="How many intents wait.")] = 1000,
    soak: Soak = 1,
    seed: Seed = SEED,
    as_json: AsJson = False,
) -> None:
    """Many intents wait for a person; everything is killed, Postgres too; started again, all of them succeed."""
    from sisu_pipeline.proof.labs.parked_restart import lab

    _run(lab(count), soak, seed, as_json)


@app.command()
def chaos(
    minutes: Annotated[float, typer.Option(min=0.1, max=24 * 60, help="How long faults strike.")] = 10.0,
    seed: Seed = SEED,
    report: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write the report here as Markdown, and as JSON beside it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """A stream of intents while everything is killed, frozen and cut off: nothing lost, twice or stuck."""
    with speaking(as_json) as voice:
        from sisu_pipeline.proof.chaos import chaos_lab as lab
        from sisu_pipeline.proof.chaos import chaos_report

        storm = lab.run(minutes, seed)
        found = storm.report()
        if report is not None:
            chaos_report.write(found, report)
        voice.say(found | {"data": str(storm.home)}, lambda: chaos_report.words(found, storm.home))
        if not found["passed"]:
            raise typer.Exit(REFUSED)


@app.command()
def cuts(
    count: Annotated[
        int | None,
        typer.Option(min=1, help="How many cuts, drawn by the seed. [default: all there are, half an hour]"),
    ] = None,
    kill: Annotated[
        bool, typer.Option("--kill", help="Kill the process that says the statement, instead of cutting it off.")
    ] = False,
    seed: Seed = SEED,
    as_json: AsJson = False,
) -> None:
    """Whatever statement loses its connection to Postgres, done or not, intents end as they should."""
    with speaking(as_json) as voice:
        from sisu_pipeline.proof.chaos import connection_cuts as lab

        report = lab.run(count, seed, kills=kill).report()
        voice.say(report, lambda: lab.words(report))
        if not report["passed"]:
            raise typer.Exit(REFUSED)


@app.command()
def gate(
    count: Annotated[int, typer.Option(min=10, max=100_000, help="How many intents wait.")] = 1000,
    clients: Annotated[int, typer.Option(min=1, max=500, help="How many people decide at once.")] = 20,
    soak: Soak = 1,
    seed: Seed = SEED,
    as_json: AsJson = False,
) -> None:
    """Many intents wait, many people decide about all of them at once: each decided once, each run as decided."""
    from sisu_pipeline.proof.labs.gate_load import lab

    _run(lab(count, clients), soak, seed, as_json)


@app.command("e2b-smoke")
def e2b_smoke(as_json: AsJson = False) -> None:
    """The sandbox suite against the real E2B (E2B_API_KEY), a few cents' worth."""
    with speaking(as_json) as voice:
        from sisu_pipeline.settings import settings

        if settings().e2b_api_key is None:
            raise Failure("e2b-smoke needs E2B_API_KEY: without it nobody can be asked", "no_key", CANNOT_WORK)
        from sisu_pipeline.proof.labs import e2b_smoke as lab

        report = lab.run(settings(), lambda line: None if as_json else write(f"  {line}"))
        voice.say(
            report, lambda: f"e2b-smoke: {'held' if report['passed'] else 'FAILED'}, boot {report['boot_ms']}"
        )
        if not report["passed"]:
            raise typer.Exit(REFUSED)


def _run(lab: "Lab", soak: int, seed: int, as_json: bool) -> None:
    with speaking(as_json) as voice:
        from sisu_pipeline.proof.harness.lab_rounds import run

        report = run(lab, soak, seed)
        voice.say(report, lambda: _words(report))
        if not report["passed"]:
            raise typer.Exit(REFUSED)


def _words(report: dict[str, Any]) -> str:
    lines = [f"{report['lab']}: {report['rounds_passed']} of {report['soak']} held, seed {report['seed']}"]
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
    lines.append(f"  look for yourself: SISU_HOME={report['data']} sisu db up, then sisu db psql")
    return "\n".join(lines)
