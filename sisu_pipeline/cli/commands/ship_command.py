"""`sisu ship`: the seed's ship checklist as one command, each of its parts run once."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from sisu_pipeline.cli.commands.lab_commands import SEED
from sisu_pipeline.console.command_output import AsJson, speaking
from sisu_pipeline.console.exit_codes import CANNOT_WORK, REFUSED, Failure

INTERRUPTED = 130
_STOPS_WITHIN_S = 30.0
_TAIL = 15
_SISU = (sys.executable, "-m", "sisu_pipeline.cli")

Show = Callable[[int, str], None]


@dataclass(frozen=True)
class Step:
    """A command that has to end well."""

    name: str
    command: tuple[str, ...]


@dataclass
class Outcome:
    """How a step ended; `exit_status` is None while it was not run, or was interrupted."""

    step: Step
    log: Path
    exit_status: int | None = None
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether it was run, and ended well."""
        return self.exit_status == 0

    def document(self) -> dict[str, Any]:
        """As JSON; times are seconds."""
        return {
            "step": self.step.name,
            "command": " ".join(self.step.command),
            "passed": self.passed,
            "exit_status": self.exit_status,
            "seconds": round(self.seconds, 1),
            "log": str(self.log),
        }


STEPS = (
    Step("quick", ("make", "-s", "quick")),
    # What each lane has beyond the one before it.
    Step("check", ("make", "-s", "integration", "crashdemo", "chaos")),
    Step("golden", ("make", "-s", "golden")),
    Step("full", ("make", "-s", "e2e", "slow", "cuts", "fanout", "restart")),
    Step("wf:intent:chaos:soak", (*_SISU, "lab", "intent-chaos", "--soak", "20", "--seed", str(SEED))),
    Step("sandbox:soak", (*_SISU, "lab", "sandbox-soak", "--seed", str(SEED))),
)
CHECKLIST = {
    "mise run quick": ("quick",),
    "mise run check": ("quick", "check", "golden"),
    "mise run full": ("quick", "check", "golden", "full", "wf:intent:chaos:soak", "sandbox:soak"),
    "mise run -f wf:intent:chaos:soak (5+ passes)": ("wf:intent:chaos:soak",),
    "mise run -f sandbox:soak (100+ tasks)": ("sandbox:soak",),
    "REFRESH_GOLDEN=1 mise run test:golden:refresh (if schema changed)": ("golden",),
}
"""Each line of the seed's checklist, and the steps that together satisfy it."""


@dataclass
class Ship:
    """A run through steps, one after another."""

    logs: Path
    show: Show
    """How many steps are done, and what happens now."""
    say: Callable[[str], None]
    """A line for people: how a step ended."""
    outcomes: list[Outcome] = field(default_factory=list)
    interrupted: bool = False

    def run(self, steps: Sequence[Step], *, keep_going: bool = False) -> None:
        """Run the steps until one fails, all of them with `keep_going`; Ctrl-C ends the one that runs, and this."""
        self.outcomes = [Outcome(step, self.logs / f"{step.name.replace(':', '-')}.log") for step in steps]
        self.logs.mkdir(parents=True, exist_ok=True)
        for number, outcome in enumerate(self.outcomes):
            self._run(number, outcome)
            if self.interrupted or not (outcome.passed or keep_going):
                return

    @property
    def passed(self) -> bool:
        """Whether every step was run and ended well."""
        return all(outcome.passed for outcome in self.outcomes)

    def _run(self, number: int, outcome: Outcome) -> None:
        name, began = outcome.step.name, time.monotonic()
        self.show(number, name)
        try:
            outcome.exit_status = _execute(outcome, lambda line: self.show(number, f"{name}: {line}"))
        except KeyboardInterrupt:
            self.interrupted = True
        outcome.seconds = time.monotonic() - began
        self.show(number + outcome.passed, name)
        self.say(f"{_verdict(outcome):<11} {name:<22} {_duration(outcome.seconds)}")
        if outcome.exit_status:
            self.say(_tail(outcome.log))


def ship(
    listed: Annotated[bool, typer.Option("--list", help="Show the steps and run none.")] = False,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Go on after a failure.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run the ship checklist: lanes, soaks and golden files, each part once; exit 1 when one fails."""
    with speaking(as_json) as voice:
        from sisu_pipeline.settings import PROJECT_ROOT, settings

        logs = settings().home / "ship"
        if listed:
            steps = [{"step": step.name, "command": " ".join(step.command)} for step in STEPS]
            voice.say({"steps": steps, "checklist": CHECKLIST}, _listed)
            return
        if not (PROJECT_ROOT / "Makefile").exists():
            raise Failure(f"ship runs in a checkout, and {PROJECT_ROOT} is none", "no_checkout", CANNOT_WORK)
        run = _watched(logs, keep_going)
        voice.say(report(run), lambda: _words(run))
        if run.interrupted:
            raise typer.Exit(INTERRUPTED)
        if not run.passed:
            raise typer.Exit(REFUSED)


def report(run: Ship) -> dict[str, Any]:
    """The run as a JSON document: every step, and every line of the checklist."""
    return {
        "passed": run.passed,
        "interrupted": run.interrupted,
        "seconds": round(sum(outcome.seconds for outcome in run.outcomes), 1),
        "steps": [outcome.document() for outcome in run.outcomes],
        "checklist": [
            {"line": line, "holds": _holds(run, names), "satisfied_by": list(names)}
            for line, names in CHECKLIST.items()
        ],
    }


def _watched(logs: Path, keep_going: bool) -> Ship:
    if not sys.stderr.isatty():
        run = Ship(logs, lambda done, text: None, _to_stderr)
        run.run(STEPS, keep_going=keep_going)
        return run
    from sisu_pipeline.proof.harness.progress_bar import progress

    with progress("ship", len(STEPS)) as show:
        run = Ship(logs, show, _to_stderr)
        run.run(STEPS, keep_going=keep_going)
    return run


def _execute(outcome: Outcome, heard: Callable[[str], None]) -> int:
    """Run the command to its end; its output goes to the log, its last line to `heard`."""
    from sisu_pipeline.settings import PROJECT_ROOT
    from sisu_pipeline.supervisor.stack import die_with_parent

    with (
        outcome.log.open("w") as log,
        subprocess.Popen(
            outcome.step.command,
            cwd=PROJECT_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # A Ctrl-C on the terminal is ours: we pass it on once, and wait.
            start_new_session=True,
            preexec_fn=die_with_parent,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                log.write(line)
                log.flush()
                if line.strip():
                    heard(line.strip()[:100])
            return process.wait()
        except KeyboardInterrupt:
            log.write(_interrupt(process))
            raise


def _interrupt(process: "subprocess.Popen[str]") -> str:
    """Pass the Ctrl-C on and wait, but not for ever; returns what was said meanwhile."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    try:
        said, _ = process.communicate(timeout=_STOPS_WITHIN_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
    return said


def _holds(run: Ship, names: Sequence[str]) -> bool:
    passed = {outcome.step.name for outcome in run.outcomes if outcome.passed}
    return passed.issuperset(names)


def _verdict(outcome: Outcome) -> str:
    if outcome.exit_status is None:
        return "interrupted"
    return "passed" if outcome.passed else f"FAILED ({outcome.exit_status})"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-_TAIL:]
    return "\n".join(f"    {line}" for line in [*lines, f"log {log}"])


def _words(run: Ship) -> str:
    return "\n".join(
        f"[{'x' if _holds(run, names) else ' '}] {line}: {', '.join(names)}" for line, names in CHECKLIST.items()
    )


def _listed() -> str:
    steps = [f"{step.name:<22} {' '.join(step.command)}" for step in STEPS]
    lines = [f"{line}: {', '.join(names)}" for line, names in CHECKLIST.items()]
    return "\n".join([*steps, "", "The checklist, and the steps that satisfy each line:", *lines])


def _to_stderr(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
