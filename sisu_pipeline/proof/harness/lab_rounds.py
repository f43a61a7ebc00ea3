"""The frame of every lab: a stack of its own, repetitions with seeded faults, a verdict from SQL, a report."""

import json
import random
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sisu_pipeline import oracle
from sisu_pipeline.proof.harness import running_stack as stages
from sisu_pipeline.proof.harness.lab_stack import LabFailed, lab_stack
from sisu_pipeline.proof.harness.progress_bar import Progress, progress
from sisu_pipeline.proof.harness.running_stack import Stage
from sisu_pipeline.settings import settings

Json = dict[str, Any]

MOCK = {"SBX_MODE": "mock"}


@dataclass
class Round:
    """One repetition of a lab: its stage, its own random numbers, what it did to the stack."""

    number: int
    stage: Stage
    random: random.Random
    show: Callable[[int, str], None]
    """Progress: how many steps of this repetition are done, and what happens now."""
    schedule: Json = field(default_factory=dict)
    """What the seed decided, before anything happened: the same for the same seed."""
    faults: list[Json] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """What happens now, in words."""
        self.show(0, text)

    def struck(self, kind: str, target: str, **detail: Any) -> None:
        """Record a fault that was done."""
        self.faults.append(
            {"at_s": round(time.monotonic() - self._began, 3), "kind": kind, "target": target} | detail
        )
        self.say(f"{kind} {target}")


@dataclass(frozen=True)
class Lab:
    """A lab: what one repetition does (its evidence is returned; LabFailed when it did not hold)."""

    name: str
    repetition: Callable[[Round], Json]
    workers: int = 2
    sandbox_workers: int = 1
    variables: dict[str, str] = field(default_factory=dict)
    steps: int = 1
    """How many steps of progress one repetition has."""


def run(lab: Lab, soak: int, seed: int) -> Json:
    """Run a lab `soak` times on one stack; returns the report, which also lies in the lab's data folder."""
    home = fresh_home(lab.name)
    rounds: list[Json] = []
    verdict: Json = {}
    error: str | None = None
    try:
        with (
            progress(lab.name, soak * lab.steps) as tick,
            lab_stack(
                home, MOCK | lab.variables, workers=lab.workers, sandbox_workers=lab.sandbox_workers
            ) as stack,
            stages.on(stack) as stage,
        ):
            for number in range(soak):
                rounds.append(_round(lab, number, seed, stage, tick))
            verdict = judge(stage)
    except LabFailed as failure:
        error = str(failure)
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


def judge(stage: Stage) -> Json:
    """What SQL says of the whole database: every law, and the seed's two checks."""
    return {
        "laws": len(oracle.laws()),
        "broken": stage.broken_laws(),
        "duplicate_task_keys": stage.row("labs.duplicate_tasks")["count"],
        "repeated_receipts": stage.row("labs.repeated_receipts")["count"],
    }


def is_clean(verdict: Json) -> bool:
    """Whether a verdict was given, and says that everything holds."""
    return bool(verdict) and not (
        verdict["broken"] or verdict["duplicate_task_keys"] or verdict["repeated_receipts"]
    )


def expect(holds: bool, otherwise: str) -> None:
    """Raises LabFailed unless it holds."""
    if not holds:
        raise LabFailed(otherwise)


def fresh_home(name: str) -> Path:
    """The lab's empty data folder; what an earlier run left is removed."""
    home = settings().home / "labs" / name
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True, exist_ok=True)
    # The embedded Postgres runs as a user of its own when we are root.
    home.chmod(0o755)
    return home


def write_report(home: Path, report: Json) -> Path:
    """The report as a file in the lab's data folder."""
    path = home / "report.json"
    path.write_text(json.dumps(report, indent=2, default=str) + "\n")
    return path


def percentiles(values: Sequence[float]) -> Json:
    """p50, p95, p99, the largest, and of how many; seconds."""
    ordered = sorted(values)
    if not ordered:
        return {"n": 0}
    at = {f"p{p}": round(ordered[min(len(ordered) - 1, len(ordered) * p // 100)], 3) for p in (50, 95, 99)}
    return at | {"max": round(ordered[-1], 3), "n": len(ordered)}


def _round(lab: Lab, number: int, seed: int, stage: Stage, tick: Progress) -> Json:
    done = number * lab.steps
    tick(done, f"round {number + 1}")
    draw = random.Random(f"{lab.name}/{seed}/{number}")  # noqa: S311
    one = Round(number, stage, draw, lambda steps, text: tick(done + steps, text))
    began = time.monotonic()
    try:
        outcome: Json = {"passed": True, "evidence": lab.repetition(one)}
    except LabFailed as failure:
        outcome = {"passed": False, "error": str(failure)}
    tick(done + lab.steps, "held" if outcome["passed"] else f"FAILED: {outcome['error']}")
    return {
        "round": number + 1,
        **outcome,
        "seconds": round(time.monotonic() - began, 3),
        "schedule": one.schedule,
        "faults": one.faults,
    }
