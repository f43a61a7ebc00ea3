"""`sisu lab chaos`: a stream of intents while faults strike at random; nothing lost, nothing twice, nothing stuck.

One seed decides the stream and the faults (`chaos_stories`, `chaos_schedule`). When the faults are over, whatever
is open is decided, every intent must end, and the rows are judged (`chaos_verdict`).
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg

from sisu_pipeline.proof.chaos import chaos_report, fault_schedule, scenarios, verdict
from sisu_pipeline.proof.chaos.fault_schedule import Planned
from sisu_pipeline.proof.chaos.faults import Monkey, Struck
from sisu_pipeline.proof.chaos.scenarios import Story
from sisu_pipeline.proof.chaos.workload import Stream, Told
from sisu_pipeline.proof.harness import running_stack as stages
from sisu_pipeline.proof.harness import stack_processes
from sisu_pipeline.proof.harness.lab_rounds import MOCK, Json, fresh_home, write_report
from sisu_pipeline.proof.harness.lab_stack import LabFailed, lab_stack
from sisu_pipeline.proof.harness.progress_bar import Progress, progress
from sisu_pipeline.proof.harness.running_stack import Stage
from sisu_pipeline.settings import settings

NAME = "chaos"
SETTLES_WITHIN_S = 240.0
# Limits of starts per minute are for real traffic; here they would only hide what is slow to recover.
VARIABLES = MOCK | {"INTENT_QUEUE_RATE_LIMIT_PER_PERIOD": "0", "SBX_QUEUE_RATE_LIMIT_PER_PERIOD": "0"}
INTENT_WORKERS = 2
SANDBOX_WORKERS = 2
_LOOK_EVERY_S = 0.5
_ENDS_WITHIN_S = 10.0


@dataclass
class Storm:
    """One run of chaos: what the seed decided, what happened, what was found."""

    seed: int
    seconds: float
    home: Path
    stories: list[Story]
    schedule: list[Planned]
    told: list[Told] = field(default_factory=list)
    struck: list[Struck] = field(default_factory=list)
    recovery: Json = field(default_factory=dict)
    verdict: Json = field(default_factory=dict)
    settled_s: float | None = None
    unsettled: list[Json] = field(default_factory=list)
    left_behind: list[str] = field(default_factory=list)
    error: str | None = None
    interrupted: bool = False

    def report(self) -> Json:
        """Everything but the list of faults: what is worth keeping."""
        judged = bool(self.verdict) and self.verdict["passed"]
        passed = judged and not self.left_behind and self.error is None and not self.interrupted
        return {
            "lab": NAME,
            "seed": self.seed,
            "minutes": self.seconds / 60,
            "version": settings().dbos__appversion,
            "schedule_sha256": chaos_report.fingerprint(self.stories, self.schedule),
            "machine": chaos_report.machine(),
            "passed": passed,
            "interrupted": self.interrupted,
            **({"error": self.error} if self.error else {}),
            **({"unsettled": self.unsettled} if self.unsettled else {}),
            "stories": chaos_report.of_stories(self.told),
            "faults": chaos_report.of_faults(self.struck, len(self.schedule)),
            "recovery": self.recovery,
            "settled_s": self.settled_s,
            **({"left_behind": self.left_behind} if self.left_behind else {}),
            "verdict": self.verdict,
        }


def run(minutes: float, seed: int, home: Path | None = None) -> Storm:
    """Chaos for so long; its report lies in the lab's data folder too. Ctrl-C ends it early, without a verdict."""
    seconds = minutes * 60
    stories, schedule = scenarios.draw(seed, seconds), fault_schedule.draw(seed, seconds)
    storm = Storm(seed, seconds, home or fresh_home(NAME), stories, schedule)
    try:
        with (
            progress(NAME, 2 * len(stories)) as tick,
            lab_stack(storm.home, VARIABLES, workers=INTENT_WORKERS, sandbox_workers=SANDBOX_WORKERS) as stack,
            stages.on(stack) as stage,
        ):
            _blow(storm, stage, tick)
            _judge(storm, stage)
        storm.left_behind = _left_behind(storm.home)
    except LabFailed as failure:
        storm.error = str(failure)
    except KeyboardInterrupt:
        storm.interrupted = True
    write_report(storm.home, storm.report() | {"faults_done": chaos_report.list_of(storm.struck)})
    return storm


def _blow(storm: Storm, stage: Stage, tick: Progress) -> None:
    """Stories and faults side by side; then the rest of the stories, and the end of every intent."""
    stream = Stream(stage.post, storm.stories)
    monkey = Monkey(stage, lambda text: tick(stream.completed, text))
    storm.told, storm.struck = stream.told, monkey.struck
    with stream.playing():
        monkey.rage(storm.schedule, storm.seconds)
        began = time.monotonic()
        stream.finish(SETTLES_WITHIN_S, lambda done: tick(done, "faults are over, deciding what is open"))
    _settle(storm, stage, lambda ended: tick(len(storm.stories) + ended, "waiting for every intent's end"))
    storm.settled_s = round(time.monotonic() - began, 1)


def _settle(storm: Storm, stage: Stage, tick: Callable[[int], None]) -> None:
    """Wait until nothing is open any more, or say what is: the verdict counts it as stuck."""
    deadline = time.monotonic() + SETTLES_WITHIN_S
    while True:
        with suppress(psycopg.OperationalError):
            storm.unsettled = stage.rows("labs.unsettled")
            tick(stage.row("labs.ends")["count"])
            if not storm.unsettled:
                return
        if time.monotonic() > deadline:
            return
        if not stage.stack.is_running:
            raise LabFailed(f"the stack has ended: read {stage.stack.log}")
        time.sleep(_LOOK_EVERY_S)


def _left_behind(home: Path) -> list[str]:
    """Processes that outlive their stack by more than they need to notice its end."""
    _, alive = psutil.wait_procs(stack_processes.of_home(home), timeout=_ENDS_WITHIN_S)
    return list(map(str, alive))


def _judge(storm: Storm, stage: Stage) -> None:
    with stage.database.connect() as connection:
        storm.verdict = verdict.judge(connection, storm.told, stage.stack.settings.workspaces)
    with stage.database.connect() as connection:
        storm.recovery = chaos_report.recovery(connection, storm.struck)
