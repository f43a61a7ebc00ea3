"""The frame of every lab: a stack, repetitions with seeded faults, a verdict from SQL, a report."""

import json
import random
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sisu_pipeline import oracle
from sisu_pipeline.proof.harness.lab_stack import LabFailed, lab_stack
from sisu_pipeline.proof.harness.progress_bar import ReportProgress, progress
from sisu_pipeline.proof.harness.running_stack import RunningStack, connect_to
from sisu_pipeline.settings import settings

Json = dict[str, Any]

MOCK = {"SBX_MODE": "mock"}


@dataclass
class Round:
    """One repetition of a lab: the stack, its random numbers and the faults it injected."""

    number: int
    stack: RunningStack
    random: random.Random
    report_progress: ReportProgress
    """Called with the number of finished steps of this repetition and the current activity."""
    schedule: Json = field(default_factory=dict)
    """What the seed decides: equal for equal seeds."""
    faults: list[Json] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    def report_activity(self, text: str) -> None:
        """Show the current activity."""
        self.report_progress(0, text)

    def record_fault(self, kind: str, target: str, **detail: Any) -> None:
        """Record a fault that was injected."""
        self.faults.append(
            {"at_s": round(time.monotonic() - self._began, 3), "kind": kind, "target": target} | detail
        )
        self.report_activity(f"{kind} {target}")


@contextmanager
def no_services(_home: Path) -> Iterator[Mapping[str, str]]:
    """Start nothing beside the stack."""
    yield {}


@dataclass(frozen=True)
class Lab:
    """A lab: `repetition` returns its evidence and raises LabFailed when an expectation is violated."""

    name: str
    repetition: Callable[[Round], Json]
    workers: int = 2
    sandbox_workers: int = 1
    variables: dict[str, str] = field(default_factory=dict)
    steps: int = 1
    """Number of progress steps of one repetition."""
    services: Callable[[Path], AbstractContextManager[Mapping[str, str]]] = no_services
    """Runs what the stack needs beside itself, in the data folder, and yields the variables for it."""


def run(lab: Lab, soak: int, seed: int) -> Json:
    """Run a lab `soak` times on one stack; returns the report and writes it to the lab's data folder.

    Ctrl-C ends it early, without a verdict.
    """
    home = fresh_home(lab.name)
    rounds: list[Json] = []
    verdict: Json = {}
    error: str | None = None
    try:
        with (
            progress(lab.name, soak * lab.steps) as report_progress,
            lab.services(home) as services,
            lab_stack(
                home,
                {**MOCK, **lab.variables, **services},
                workers=lab.workers,
                sandbox_workers=lab.sandbox_workers,
            ) as process,
            connect_to(process) as stack,
        ):
            for number in range(soak):
                rounds.append(_round(lab, number, seed, stack, report_progress))
            verdict = judge(stack)
    except LabFailed as failure:
        error = str(failure)
    except KeyboardInterrupt:
        error = "interrupted"
    passed = error is None and all(each["passed"] for each in rounds) and is_clean(verdict)
    report = {
        "lab": lab.name,
        "seed": seed,
        "soak": soak,
        "passed": passed,
        "rounds_passed": sum(each["passed"] for each in rounds),
        **({"error": error} if error else {}),
        "verdict": verdict,
        "rounds": rounds,
        "data": str(home),
    }
    write_report(home, report)
    return report


def judge(stack: RunningStack) -> Json:
    """The verdict on the whole database: every law, duplicate task keys, repeated executions."""
    return {
        "laws": len(oracle.laws()),
        "broken": stack.broken_laws(),
        "duplicate_task_keys": stack.row("labs.duplicate_tasks")["count"],
        "repeated_receipts": stack.row("labs.repeated_receipts")["count"],
    }


def is_clean(verdict: Json) -> bool:
    """Whether there is a verdict and it found nothing."""
    return bool(verdict) and not (
        verdict["broken"] or verdict["duplicate_task_keys"] or verdict["repeated_receipts"]
    )


def expect(holds: bool, otherwise: str) -> None:
    """Raise LabFailed with the message `otherwise` unless the condition holds."""
    if not holds:
        raise LabFailed(otherwise)


def fresh_home(name: str) -> Path:
    """Create the lab's data folder, empty: the data of an earlier run is deleted."""
    home = settings().home / "labs" / name
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True, exist_ok=True)
    # As root, the embedded Postgres runs under a different user, which must be able to enter.
    home.chmod(0o755)
    return home


def write_report(home: Path, report: Json) -> Path:
    """Write the report to the lab's data folder; returns the file."""
    path = home / "report.json"
    path.write_text(json.dumps(report, indent=2, default=str) + "\n")
    return path


def percentiles(values: Sequence[float]) -> Json:
    """p50, p95, p99, maximum and number of values, rounded to milliseconds."""
    ordered = sorted(values)
    if not ordered:
        return {"n": 0}
    at = {f"p{p}": round(ordered[min(len(ordered) - 1, len(ordered) * p // 100)], 3) for p in (50, 95, 99)}
    return at | {"max": round(ordered[-1], 3), "n": len(ordered)}


def _round(lab: Lab, number: int, seed: int, stack: RunningStack, report_progress: ReportProgress) -> Json:
    done = number * lab.steps
    report_progress(done, f"round {number + 1}")
    draw = random.Random(f"{lab.name}/{seed}/{number}")  # noqa: S311
    lab_round = Round(number, stack, draw, lambda steps, text: report_progress(done + steps, text))
    began = time.monotonic()
    try:
        outcome: Json = {"passed": True, "evidence": lab.repetition(lab_round)}
    except LabFailed as failure:
        outcome = {"passed": False, "error": str(failure)}
    report_progress(done + lab.steps, "passed" if outcome["passed"] else f"FAILED: {outcome['error']}")
    return {
        "round": number + 1,
        **outcome,
        "seconds": round(time.monotonic() - began, 3),
        "schedule": lab_round.schedule,
        "faults": lab_round.faults,
    }
