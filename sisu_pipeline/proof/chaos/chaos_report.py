"""What chaos found, for programs (JSON) and for people (Markdown)."""

import json
import platform
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import psutil

from resources.database import Connection
from sisu_pipeline.domain.canonical import sha256_hex
from sisu_pipeline.proof.chaos.fault_schedule import Planned
from sisu_pipeline.proof.chaos.faults import Struck
from sisu_pipeline.proof.chaos.scenarios import Story
from sisu_pipeline.proof.chaos.workload import Told
from sisu_pipeline.proof.harness.lab_rounds import percentiles
from sisu_pipeline.proof.harness.running_stack import Json
from sql import query

_SHOWN = 20


def machine() -> Json:
    """What it ran on."""
    return {
        "cpus": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def fingerprint(stories: Sequence[Story], schedule: Sequence[Planned]) -> str:
    """sha256 of everything the seed decided: equal for equal seeds and lengths."""
    drawn = [[asdict(story) for story in stories], [asdict(planned) for planned in schedule]]
    return sha256_hex(json.dumps(drawn, sort_keys=True))


def of_stories(told: Sequence[Told]) -> Json:
    """How many intents of each kind, and what people did to them."""
    acts = Counter(f"{verb} {status}" for one in told for verb, status in one.done)
    return {
        "intents": len(told),
        "tasks": sum(one.story.tasks for one in told),
        "by_plot": dict(Counter(str(one.story.plot) for one in told).most_common()),
        "answers": dict(sorted(acts.items())),
    }


def of_faults(struck: Sequence[Struck], planned: int) -> Json:
    """How many faults of each kind hit something."""
    hit = [one for one in struck if one.hit]
    return {
        "planned": planned,
        "struck": len(hit),
        "found_nobody": len(struck) - len(hit),
        "kinds": len({one.planned.kind for one in hit}),
        "by_kind": dict(Counter(str(one.planned.kind) for one in hit).most_common()),
    }


def recovery(connection: Connection, struck: Sequence[Struck]) -> Json:
    """Seconds from a fault to the next commit of each intent it struck: over all, and by kind.

    The work that was left counts: a task that sleeps two seconds commits nothing before.
    """
    asked = [(at, intent, one.when) for at, one in enumerate(struck) if one.hit for intent in one.affected]
    columns = zip(*asked, strict=True) if asked else ([], [], [])
    parameters = dict(zip(("fault", "workflow_id", "since"), map(list, columns), strict=True))
    by_kind: defaultdict[str, list[float]] = defaultdict(list)
    for row in connection.execute(query("labs.progress_after"), parameters):
        by_kind[str(struck[row["fault"]].planned.kind)].append(row["seconds"])
    every = [seconds for values in by_kind.values() for seconds in values]
    return {"all": percentiles(every), **{kind: percentiles(by_kind[kind]) for kind in sorted(by_kind)}}


def list_of(struck: Sequence[Struck]) -> list[Json]:
    """Every fault, for the report in the data folder."""
    return [
        {
            "due_s": one.planned.at_s,
            "at_s": one.at_s,
            "kind": str(one.planned.kind),
            "victims": list(one.victims),
            "affected": len(one.affected),
        }
        for one in struck
    ]


def write(report: Json, path: Path) -> None:
    """The report as Markdown at `path`, and as JSON beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(markdown(report))
    path.with_suffix(".json").write_text(json.dumps(report, indent=2, default=str) + "\n")


def words(report: Json, home: Path) -> str:
    """The report in a few lines, and what to look at."""
    verdict, times = report["verdict"], report["recovery"].get("all", {"n": 0})
    lines = [
        f"chaos: {_outcome(report)}, seed {report['seed']}, {report['minutes']:g} minutes",
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
        lines += _broken(verdict)
    lines.append(f"  report {home}/report.json, logs {home}/logs")
    lines.append(f"  look for yourself: SISU_HOME={home} sisu db up, then sisu db psql")
    return "\n".join(lines)


def markdown(report: Json) -> str:
    """The report for people."""
    stories, faults, verdict = report["stories"], report["faults"], report["verdict"]
    lines = [
        "# Chaos report",
        "",
        f"`sisu lab chaos --minutes {report['minutes']:g} --seed {report['seed']}` at version {report['version']}: "
        f"**{_outcome(report)}**. How to read this: [chaos.md](chaos.md).",
        "",
        *_table(("", ""), [(name, str(value)) for name, value in _headline(report)]),
        "",
        "## Faults",
        "",
        *_table(("kind", "struck"), faults["by_kind"].items()),
        "",
        "## Intents",
        "",
        *_table(("story", "intents"), stories["by_plot"].items()),
        "",
        *_table(("request and answer", "times"), stories["answers"].items()),
        "",
        "## From a fault to the next commit of the intents it struck (seconds)",
        "",
        *_table(("fault", "n", "p50", "p95", "max"), map(_times, report["recovery"].items())),
    ]
    if report.get("error"):
        lines += ["", "## Error", "", report["error"]]
    if verdict and not verdict["passed"]:
        lines += ["", "## What is broken", "", *_broken(verdict)]
    return "\n".join(lines) + "\n"


def _outcome(report: Json) -> str:
    if report["passed"]:
        return "held"
    return "interrupted" if report["interrupted"] else "BROKEN"


def _broken(verdict: Json) -> list[str]:
    lines = [f"* law {law}: {rows[0]}" for law, rows in verdict["broken_laws"].items()]
    return lines + [
        f"* {one['breach']}: {one['intent']}: {one['detail']}" for one in verdict["violations"][:_SHOWN]
    ]


def _headline(report: Json) -> list[tuple[str, object]]:
    stories, faults, verdict, host = (report[name] for name in ("stories", "faults", "verdict", "machine"))
    lines: list[tuple[str, object]] = [
        ("intents", f"{stories['intents']} ({stories['tasks']} tasks)"),
        ("faults", f"{faults['struck']} of {faults['kinds']} kinds; {faults['found_nobody']} found no victim"),
    ]
    if verdict:
        lines += [(name, verdict[name]) for name in ("lost", "duplicated", "stuck", "wrong")]
        lines.append(("laws of the oracle", f"{verdict['laws']}, {len(verdict['broken_laws'])} broken"))
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
