"""`sisu lab chaos`: inject random faults under load; no intent may be lost, repeated or stuck.

One seed decides the workload (`scenarios`) and the faults (`fault_schedule`). After the last fault the remaining
operations are performed, every intent must end, and `verdict` judges the rows.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from sisu_pipeline.proof.chaos import chaos_report, fault_schedule, leftovers, scenarios, verdict
from sisu_pipeline.proof.chaos.fault_injector import FaultInjector, InjectedFault
from sisu_pipeline.proof.chaos.fault_schedule import PlannedFault
from sisu_pipeline.proof.chaos.fault_tools import FaultTools, fault_tools
from sisu_pipeline.proof.chaos.live_planning import LivePlanning, draw_script, live_planning
from sisu_pipeline.proof.chaos.scenarios import Scenario
from sisu_pipeline.proof.chaos.workload import ScenarioOutcome, Workload
from sisu_pipeline.proof.harness.lab_rounds import MOCK, Json, fresh_home, write_report
from sisu_pipeline.proof.harness.lab_stack import LabFailed, lab_stack
from sisu_pipeline.proof.harness.progress_bar import ReportProgress, progress
from sisu_pipeline.proof.harness.running_stack import RunningStack, connect_to
from sisu_pipeline.settings import settings

NAME = "chaos"
SETTLE_TIMEOUT_S = 240.0
"""Without any progress, the open work is stuck after this time."""
LONGEST_SETTLING_S = 1200.0
# Rate limits protect production traffic; here they would only hide slow recovery.
VARIABLES = MOCK | {"INTENT_QUEUE_RATE_LIMIT_PER_PERIOD": "0", "SBX_QUEUE_RATE_LIMIT_PER_PERIOD": "0"}
INTENT_WORKERS = 2
SANDBOX_WORKERS = 2
_POLL_INTERVAL_S = 0.5


@dataclass
class ChaosRun:
    """One run of chaos: what the seed decided, what happened and the verdict."""

    seed: int
    seconds: float
    home: Path
    scenarios: list[Scenario]
    schedule: list[PlannedFault]
    live: bool = False
    kill: tuple[str, ...] = ()
    outcomes: list[ScenarioOutcome] = field(default_factory=list)
    injected: list[InjectedFault] = field(default_factory=list)
    recovery: Json = field(default_factory=dict)
    deadlines: Json = field(default_factory=dict)
    verdict: Json = field(default_factory=dict)
    settled_s: float | None = None
    unsettled: list[Json] = field(default_factory=list)
    left_behind: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    interrupted: bool = False

    def report(self) -> Json:
        """The report, without the list of single faults."""
        judged = bool(self.verdict) and self.verdict["passed"]
        passed = judged and not self.left_behind and self.error is None and not self.interrupted
        return {
            "lab": NAME,
            "seed": self.seed,
            "minutes": self.seconds / 60,
            "live": self.live,
            "kill": list(self.kill),
            "version": settings().dbos__appversion,
            "schedule_sha256": chaos_report.schedule_sha256(self.scenarios, self.schedule),
            "machine": chaos_report.machine(),
            "passed": passed,
            "interrupted": self.interrupted,
            **({"error": self.error} if self.error else {}),
            **({"unsettled": self.unsettled} if self.unsettled else {}),
            "stories": chaos_report.count_scenarios(self.outcomes),
            "faults": chaos_report.count_faults(self.injected, len(self.schedule)),
            **({"left_out": self.left_out} if self.left_out else {}),
            "recovery": self.recovery,
            "deadlines": self.deadlines,
            "settled_s": self.settled_s,
            **({"left_behind": self.left_behind} if self.left_behind else {}),
            "verdict": self.verdict,
        }


def run(
    minutes: float, seed: int, home: Path | None = None, *, live: bool = False, kill: Sequence[str] = ()
) -> ChaosRun:
    """Run chaos and write the report to its data folder. Ctrl-C ends it early, without a verdict.

    With `live`, a scripted coding agent plans every intent. With `kill`, keys of `fault_schedule.KILLS`, these
    processes are killed and nothing else happens to the stack.
    """
    seconds = minutes * 60
    drawn = scenarios.draw(seed, seconds, live=live)
    schedule = fault_schedule.draw(seed, seconds, live=live, kill=kill)
    chaos = ChaosRun(seed, seconds, home or fresh_home(NAME), drawn, schedule, live, tuple(kill))
    try:
        with fault_tools(chaos.home, schedule) as tools, _planning(chaos) as planning:
            chaos.left_out = {str(kind): reason for kind, reason in tools.left_out.items()}
            variables = VARIABLES | tools.variables | (planning.variables if planning else {})
            with (
                progress(NAME, 2 * len(drawn)) as report_progress,
                lab_stack(
                    chaos.home, variables, workers=INTENT_WORKERS, sandbox_workers=SANDBOX_WORKERS
                ) as process,
                connect_to(process) as stack,
            ):
                _run_under_faults(chaos, stack, planning, tools, report_progress)
                _judge(chaos, stack)
        chaos.left_behind = leftovers.of_stopped_stack(chaos.home)
    except LabFailed as failure:
        chaos.error = str(failure)
    except KeyboardInterrupt:
        chaos.interrupted = True
    write_report(chaos.home, chaos.report() | {"faults_done": chaos_report.list_faults(chaos.injected)})
    return chaos


@contextmanager
def _planning(chaos: ChaosRun) -> Iterator[LivePlanning | None]:
    """The scripted agent of a live run; None for one with the built-in planner."""
    if not chaos.live:
        yield None
        return
    with live_planning(chaos.home) as planning:
        for scenario in chaos.scenarios:
            planning.prepare(scenario, draw_script(chaos.seed, scenario))
        yield planning


def _run_under_faults(
    chaos: ChaosRun,
    stack: RunningStack,
    planning: LivePlanning | None,
    tools: FaultTools,
    report_progress: ReportProgress,
) -> None:
    """Run the workload while faults are injected; then finish it and wait for the end of every intent."""
    workload = Workload(stack, chaos.scenarios)
    injector = FaultInjector(stack, lambda text: report_progress(workload.completed, text), planning, tools)
    chaos.outcomes, chaos.injected = workload.outcomes, injector.injected
    with workload.running():
        injector.run(chaos.schedule, chaos.seconds)
        began = time.monotonic()
        workload.finish(
            SETTLE_TIMEOUT_S, lambda done: report_progress(done, "no more faults, finishing the operations")
        )
    total = len(chaos.scenarios)
    _wait_until_settled(
        chaos, stack, lambda ended: report_progress(total + ended, "waiting for every intent to end")
    )
    chaos.settled_s = round(time.monotonic() - began, 1)


def _wait_until_settled(chaos: ChaosRun, stack: RunningStack, report_count: Callable[[int], None]) -> None:
    """Wait until no work is open, or the open work has not changed for SETTLE_TIMEOUT_S: the verdict counts it."""
    began = time.monotonic()
    deadline = began + SETTLE_TIMEOUT_S
    while True:
        with suppress(psycopg.OperationalError):
            before, chaos.unsettled = chaos.unsettled, stack.rows("labs.unsettled")
            if chaos.unsettled != before:
                deadline = min(time.monotonic() + SETTLE_TIMEOUT_S, began + LONGEST_SETTLING_S)
            report_count(stack.row("labs.ended_runs")["count"])
            if not chaos.unsettled:
                return
        if time.monotonic() > deadline:
            return
        if not stack.process.is_running:
            raise LabFailed(f"the stack exited; log: {stack.process.log}")
        time.sleep(_POLL_INTERVAL_S)


def _judge(chaos: ChaosRun, stack: RunningStack) -> None:
    with stack.database.connect() as connection:
        chaos.verdict = verdict.judge(connection, chaos.outcomes, stack.process.settings.workspaces)
    with stack.database.connect() as connection:
        chaos.recovery = chaos_report.measure_recovery(connection, chaos.injected)
        chaos.deadlines = chaos_report.measure_deadlines(connection)
