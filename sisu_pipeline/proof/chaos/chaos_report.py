"""The report of chaos, as JSON and as Markdown."""

import json
import platform
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import psutil

from resources.database import Connection
from sisu_pipeline.domain.canonical import sha256_hex
from sisu_pipeline.proof.chaos.fault_injector import InjectedFault
from sisu_pipeline.proof.chaos.fault_schedule import PlannedFault
from sisu_pipeline.proof.chaos.scenarios import Scenario
from sisu_pipeline.proof.chaos.workload import ScenarioOutcome
from sisu_pipeline.proof.harness.lab_rounds import percentiles
from sisu_pipeline.proof.harness.running_stack import Json
from sql import query

_MAX_VIOLATIONS = 20


def machine() -> Json:
    """The machine it ran on."""
    return {
        "cpus": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def schedule_sha256(scenarios: Sequence[Scenario], schedule: Sequence[PlannedFault]) -> str:
    """sha256 of scenarios and faults: equal for equal seeds and durations."""
    drawn = [[asdict(scenario) for scenario in scenarios], [asdict(planned) for planned in schedule]]
    return sha256_hex(json.dumps(drawn, sort_keys=True))


def count_scenarios(outcomes: Sequence[ScenarioOutcome]) -> Json:
    """The number of intents by kind, and of responses by operation and status."""
    responses = Counter(f"{operation} {status}" for each in outcomes for operation, status in each.responses)
    return {
        "intents": len(outcomes),
        "tasks": sum(each.scenario.tasks for each in outcomes),
        "by_plot": dict(Counter(str(each.scenario.kind) for each in outcomes).most_common()),
        "answers": dict(sorted(responses.items())),
    }


def count_faults(injected: Sequence[InjectedFault], planned: int) -> Json:
    """The number of faults by kind, and how many found no victim."""
    hit = [each for each in injected if each.hit]
    return {
        "planned": planned,
        "struck": len(hit),
        "found_nobody": len(injected) - len(hit),
        "kinds": len({each.planned.kind for each in hit}),
        "by_kind": dict(Counter(str(each.planned.kind) for each in hit).most_common()),
    }


def measure_recovery(connection: Connection, injected: Sequence[InjectedFault]) -> Json:
    """Seconds from a fault to the next commit of each intent it interrupted: over all, and by kind.

    They include the remaining work: a task that sleeps two seconds commits nothing before it ends.
    """
    pairs = [(at, intent, each.when) for at, each in enumerate(injected) if each.hit for intent in each.affected]
    columns = zip(*pairs, strict=True) if pairs else ([], [], [])
    parameters = dict(zip(("fault", "workflow_id", "since"), map(list, columns), strict=True))
    by_kind: defaultdict[str, list[float]] = defaultdict(list)
    for row in connection.execute(query("labs.progress_after"), parameters):
        by_kind[str(injected[row["fault"]].planned.kind)].append(row["seconds"])
    every = [seconds for values in by_kind.values() for seconds in values]
    return {"all": percentiles(every), **{kind: percentiles(by_kind[kind]) for kind in sorted(by_kind)}}


def measure_deadlines(connection: Connection) -> Json:
    """Seconds from a deadline to what it decides, by the clock of the database."""
    return percentiles([row["seconds"] for row in connection.execute(query("labs.deadlines"))])


def list_faults(injected: Sequence[InjectedFault]) -> list[Json]:
    """Every fault with its victims, for the report in the data folder."""
    return [
        {
            "due_s": each.planned.at_s,
            "at_s": each.at_s,
            "kind": str(each.planned.kind),
            "victims": list(each.victims),
            "affected": len(each.affected),
        }
        for each in injected
    ]


def write(report: Json, path: Path) -> None:
    """Write the report as Markdown to `path`, and as JSON beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(markdown(report))
    path.with_suffix(".json").write_text(json.dumps(report, indent=2, default=str) + "\n")


def summary(report: Json, home: Path) -> str:
    """The report in a few lines, with the places to look at next."""
    verdict, times = report["verdict"], report["recovery"].get("all", {"n": 0})
    lines = [
        f"chaos: {_outcome(report)}, seed {report['seed']}, {report['minutes']:g} minutes{_options(report)}",
        *(f"  {name}: {value}" for name, value in _headline(report)[:-2]),
    ]
    if times["n"]:
        lines.append(
            f"  recovery: p50 {times['p50']} s, p95 {times['p95']} s, max {times['max']} s (n={times['n']})"
        )
    if report.get("error"):
        lines.append(f"  {report['error']}")
    lines += [f"  left behind: {process}" for process in report.get("left_behind", [])]
    if verdict and not verdict["passed"]:
        lines += _violations(verdict)
    lines.append(f"  report {home}/report.json, logs {home}/logs")
    lines.append(f"  inspect the data: SISU_HOME={home} sisu db up, then sisu db psql")
    return "\n".join(lines)


def markdown(report: Json) -> str:
    """The report as Markdown."""
    stories, faults, verdict = report["stories"], report["faults"], report["verdict"]
    lines = [
        "# Chaos report with a coding agent" if report["live"] else "# Chaos report",
        "",
        f"`sisu lab chaos --minutes {report['minutes']:g} --seed {report['seed']}{_options(report)}` at version "
        f"{report['version']}: **{_outcome(report)}**. How to read this: [chaos.md](chaos.md).",
        "",
        *_table(("", ""), [(name, str(value)) for name, value in _headline(report)]),
        "",
        "## Faults",
        "",
        *_table(("kind", "injected"), faults["by_kind"].items()),
        "",
        "## Intents",
        "",
        *_table(("scenario", "intents"), stories["by_plot"].items()),
        "",
        *_table(("operation and status", "responses"), stories["answers"].items()),
        "",
        "## From a fault to the next commit of the intents it interrupted (seconds)",
        "",
        *_table(("fault", "n", "p50", "p95", "max"), map(_times, report["recovery"].items())),
    ]
    if report.get("error"):
        lines += ["", "## Error", "", report["error"]]
    if report.get("left_behind"):
        lines += ["", "## Left behind", "", *(f"* {each}" for each in report["left_behind"])]
    if verdict and not verdict["passed"]:
        lines += ["", "## Violations", "", *_violations(verdict)]
    return "\n".join(lines) + "\n"


def _options(report: Json) -> str:
    """The options of the run beyond its length and seed."""
    return (" --live" if report["live"] else "") + "".join(f" --kill {name}" for name in report["kill"])


def _outcome(report: Json) -> str:
    if report["passed"]:
        return "passed"
    return "interrupted" if report["interrupted"] else "FAILED"


def _violations(verdict: Json) -> list[str]:
    lines = [f"* law {law}: {rows[0]}" for law, rows in verdict["broken_laws"].items()]
    return lines + [
        f"* {each['breach']}: {each['intent']}: {each['detail']}"
        for each in verdict["violations"][:_MAX_VIOLATIONS]
    ]


def _headline(report: Json) -> list[tuple[str, object]]:
    stories, faults, verdict, host = (report[name] for name in ("stories", "faults", "verdict", "machine"))
    lines: list[tuple[str, object]] = [
        ("intents", f"{stories['intents']} ({stories['tasks']} tasks)"),
        ("faults", f"{faults['struck']} of {faults['kinds']} kinds; {faults['found_nobody']} found no victim"),
        *((f"left out: {kind}", reason) for kind, reason in report.get("left_out", {}).items()),
    ]
    if verdict:
        lines += [(name, verdict[name]) for name in ("lost", "duplicated", "stuck", "wrong")]
        lines.append(("laws", f"{verdict['laws']}, {len(verdict['broken_laws'])} broken"))
        lines.append(("left behind", len(report.get("left_behind", []))))
    if (passed := report["deadlines"]) and passed["n"]:
        lines.append(
            (f"from a deadline to its decision (n={passed['n']})", f"p50 {passed['p50']} s, max {passed['max']} s")
        )
    if verdict and report["live"]:
        lines.append(("planning given up after three interrupted sessions", verdict["planning_given_up"]))
    return [
        *lines,
        ("settled after the last fault", f"{report['settled_s']} s"),
        ("machine", f"{host['cpus']} CPUs, {host['memory_gb']} GB, Python {host['python']}, {host['system']}"),
        ("schedule (sha256)", f"`{report['schedule_sha256']}`"),
    ]


def _times(item: tuple[str, Json]) -> tuple[object, ...]:
    kind, times = item
    return (kind, times["n"], *(times.get(name, "–") for name in ("p50", "p95", "max")))


def _table(heads: Sequence[str], rows: object) -> list[str]:
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    return lines + [f"| {' | '.join(map(str, row))} |" for row in rows]  # type: ignore[attr-defined]
