"""`sisu lab cuts`: cut the connection to Postgres at every statement; every intent must end correctly.

Random faults rarely hit the few milliseconds that matter. Here every statement that a process sends while an intent
runs is cut on purpose, with one intent per cut. A COMMIT whose reply is lost may or may not have been executed: no
process may assume either, end the run because of it, or execute the work twice.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from resources.database import DATABASE
from sisu_pipeline import database_server as server
from sisu_pipeline.proof.chaos import leftovers, verdict
from sisu_pipeline.proof.chaos.cut_plan import (
    KINDS,
    LIVE_KINDS,
    NAME,
    OBSERVED_INTENTS,
    PlannedCut,
    StatementCounts,
    draw,
    scenario_of,
)
from sisu_pipeline.proof.chaos.live_planning import LivePlanning, draw_script, live_planning
from sisu_pipeline.proof.chaos.scenarios import Operation, ScenarioKind
from sisu_pipeline.proof.chaos.workload import ScenarioOutcome, perform
from sisu_pipeline.proof.harness import stack_processes
from sisu_pipeline.proof.harness.lab_rounds import MOCK, Json, fresh_home, write_report
from sisu_pipeline.proof.harness.lab_stack import LabFailed, lab_stack
from sisu_pipeline.proof.harness.postgres_proxy import PostgresProxy, Statement
from sisu_pipeline.proof.harness.progress_bar import ReportProgress, progress
from sisu_pipeline.proof.harness.running_stack import RunningStack, connect_to
from sisu_pipeline.settings import load_settings

VARIABLES = MOCK | {"INTENT_QUEUE_RATE_LIMIT_PER_PERIOD": "0", "SBX_QUEUE_RATE_LIMIT_PER_PERIOD": "0"}
_END_TIMEOUT_S = 90.0


@dataclass
class CutsRun:
    """One run of the lab: the recorded statements, the cuts planned and made by scenario number, the verdict."""

    seed: int
    home: Path
    live: bool = False
    planning: LivePlanning | None = None
    statements: StatementCounts = field(default_factory=dict)
    planned: dict[int, PlannedCut] = field(default_factory=dict)
    outcomes: list[ScenarioOutcome] = field(default_factory=list)
    made: set[int] = field(default_factory=set)
    seconds: list[float] = field(default_factory=list)
    verdict: Json = field(default_factory=dict)
    left_behind: list[str] = field(default_factory=list)
    error: str | None = None

    @property
    def kinds(self) -> Mapping[ScenarioKind, tuple[Operation, ...]]:
        """The kinds of intents of this run, with the operations on them."""
        return LIVE_KINDS if self.live else KINDS

    def report(self) -> Json:
        """The report, with the cut behind each violation."""
        by_component = Counter(self.planned[number].cut.statement.component for number in sorted(self.made))
        judged = bool(self.verdict) and bool(self.verdict["passed"])
        return {
            "lab": NAME,
            "seed": self.seed,
            "live": self.live,
            "passed": judged and self.error is None and bool(self.made) and not self.left_behind,
            **({"left_behind": self.left_behind} if self.left_behind else {}),
            **({"error": self.error} if self.error else {}),
            "heard": {str(kind): len(statements) for kind, statements in self.statements.items()},
            "planned": len(self.planned),
            "made": len(self.made),
            "made_by_component": dict(by_component),
            "slowest_life_s": max(self.seconds, default=0.0),
            "median_life_s": sorted(self.seconds)[len(self.seconds) // 2] if self.seconds else 0.0,
            "verdict": self.verdict,
            "breaches": [self._breach(each) for each in self.verdict.get("violations", [])],
            "data": str(self.home),
        }

    def _breach(self, violation: Json) -> Json:
        planned = self.planned.get(int(violation["intent"].split()[0])) if " " in violation["intent"] else None
        if planned is None:
            return violation
        cut = planned.cut
        return violation | {
            "statement": str(cut.statement),
            "moment": str(cut.moment),
            "occurrence": cut.occurrence,
        }


def run(
    count: int | None, seed: int, *, kill_process: bool = False, live: bool = False, home: Path | None = None
) -> CutsRun:
    """Make `count` cuts, drawn by the seed, or every one; writes the report to the data folder.

    `kill_process`: kill the process that sends the statement instead of cutting its connection. `live`: a scripted
    coding agent makes the plans. Ctrl-C ends the run early, without a verdict.
    """
    cuts = CutsRun(seed, home or fresh_home(NAME), live)
    try:
        with _proxied_stack(cuts) as (proxy, stack):
            cuts.statements = _observe(cuts, proxy, stack)
            plan = draw(cuts.statements, count, seed, kill_process=kill_process)
            with progress(NAME, len(plan)) as report_progress:
                for planned in plan:
                    _make(cuts, proxy, stack, planned, report_progress)
            with stack.database.connect() as connection:
                cuts.verdict = verdict.judge(connection, cuts.outcomes, stack.process.settings.workspaces)
        cuts.left_behind = leftovers.of_stopped_stack(cuts.home / "stack")
    except LabFailed as failure:
        cuts.error = str(failure)
    except KeyboardInterrupt:
        cuts.error = "interrupted"
    write_report(cuts.home, cuts.report())
    return cuts


@contextmanager
def _proxied_stack(cuts: CutsRun) -> Iterator[tuple[PostgresProxy, RunningStack]]:
    """Start an embedded server, a proxy in front of it, and a stack that connects through the proxy."""
    home = cuts.home
    for name in ("server", "proxy"):
        (home / name).mkdir(parents=True)
        (home / name).chmod(0o755)
    upstream = load_settings({"SISU_HOME": str(home / "server")})
    server.up(upstream)
    try:
        proxy = PostgresProxy(server.embedded(upstream).folder, stack_processes.component_of)
        url = f"postgresql://postgres@/{DATABASE}?host={quote(str(home / 'proxy'), safe='')}"
        with (
            proxy.serve(home / "proxy"),
            _planning(cuts) as variables,
            lab_stack(home / "stack", VARIABLES | variables | {"DATABASE_URL": url}) as process,
            connect_to(process) as stack,
        ):
            yield proxy, stack
    finally:
        server.down(upstream)


@contextmanager
def _planning(cuts: CutsRun) -> Iterator[dict[str, str]]:
    """The settings of the scripted agent, whose model runs meanwhile; none without it."""
    if not cuts.live:
        yield {}
        return
    with live_planning(cuts.home / "stack") as cuts.planning:
        yield cuts.planning.variables


def _observe(cuts: CutsRun, proxy: PostgresProxy, stack: RunningStack) -> StatementCounts:
    """Record the statements of each kind of intent, after a warm-up."""
    statements: dict[ScenarioKind, Mapping[Statement, int]] = {}
    for kind in cuts.kinds:
        _run_intent(cuts, stack, kind)
    for kind in cuts.kinds:
        proxy.arm(None)
        for _ in range(OBSERVED_INTENTS):
            _run_intent(cuts, stack, kind)
        statements[kind] = proxy.statement_counts.copy()
    return statements


def _make(
    cuts: CutsRun, proxy: PostgresProxy, stack: RunningStack, planned: PlannedCut, report_progress: ReportProgress
) -> None:
    number = len(cuts.outcomes)
    cuts.planned[number] = planned
    report_progress(len(cuts.planned) - 1, str(planned.cut.statement)[:60])
    began = time.monotonic()
    proxy.arm(planned.cut)
    try:
        _run_intent(cuts, stack, planned.kind)
    except LabFailed as failure:
        if not stack.process.is_running:
            raise
        # The verdict reports this intent; the remaining cuts can still be made.
        report_progress(len(cuts.planned) - 1, f"FAILED: {failure}")
    cuts.seconds.append(round(time.monotonic() - began, 3))
    if proxy.is_cut:
        cuts.made.add(number)
    proxy.arm(None)
    report_progress(len(cuts.planned), str(planned.cut.statement)[:60])


def _run_intent(cuts: CutsRun, stack: RunningStack, kind: ScenarioKind) -> None:
    """Run one intent until it leaves no open work; the verdict judges how it ended."""
    outcome = ScenarioOutcome(scenario_of(len(cuts.outcomes), kind, cuts.seed, live=cuts.live))
    if cuts.planning is not None:
        cuts.planning.prepare(outcome.scenario, draw_script(cuts.seed, outcome.scenario, faults=False))
    cuts.outcomes.append(outcome)
    perform(stack, outcome, Operation.SUBMIT)

    def row() -> Json:
        return stack.row("labs.of_run", workflow_id=outcome.workflow_id)

    def waits() -> bool:
        """Whether the run waits for a person, or has ended; a cancellation comes while an agent plans."""
        found = row()
        is_planning = found["next_action"] == "PLAN" and kind is not ScenarioKind.CANCELED
        return found["status"] not in ("queued", "running") and not is_planning

    def open_work() -> list[str]:
        unsettled = stack.rows("labs.unsettled")
        return [each["place"] for each in unsettled if each["workflow_id"] == outcome.workflow_id]

    # A run that ends without reaching its gate also ends this wait.
    stack.wait_until(waits, _END_TIMEOUT_S, lambda: f"its gate: {row()}")
    for operation in cuts.kinds[kind]:
        stack.wait_until(
            lambda: perform(stack, outcome, operation),  # noqa: B023 - called before the next operation
            _END_TIMEOUT_S,
            lambda: f"{operation} to be possible: {row()}",  # noqa: B023
        )
    stack.wait_until(lambda: not open_work(), _END_TIMEOUT_S, lambda: f"the end of {open_work()}")


def summary(report: Json) -> str:
    """The report as text."""
    verdict = report["verdict"]
    lines = [
        f"{NAME}: {'passed' if report['passed'] else 'FAILED'}, seed {report['seed']}"
        f"{', planned by an agent' if report['live'] else ''}",
        f"  statements recorded: {report['heard']}",
        f"  cuts: {report['made']} of {report['planned']} made (the statements of the others did not occur again)",
        f"  by component: {report['made_by_component']}",
        f"  duration of an intent with a cut: median {report['median_life_s']} s, "
        f"maximum {report['slowest_life_s']} s",
    ]
    if report.get("error"):
        lines.append(f"  {report['error']}")
    if verdict:
        counts = ", ".join(f"{name} {verdict[name]}" for name in ("lost", "duplicated", "stuck", "wrong"))
        lines.append(f"  {counts}; laws: {verdict['laws']}, {len(verdict['broken_laws'])} broken")
    lines += [f"  left behind: {each}" for each in report.get("left_behind", [])]
    for each in report["breaches"]:
        lines.append(f"  * {each['breach']}: {each['intent']}: {each['detail']}")
        if "statement" in each:
            lines.append(f"    {each['moment']}, occurrence {each['occurrence']}: {each['statement']}")
    lines.append(f"  report {report['data']}/report.json")
    return "\n".join(lines)
