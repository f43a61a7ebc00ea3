"""`sisu lab cuts`: cut the connection to Postgres at every statement; every intent must end correctly.

Random faults rarely hit the few milliseconds that matter. Here every statement that a process sends while an intent
runs is cut on purpose, with one intent per cut. A COMMIT whose reply is lost may or may not have been executed: no
process may assume either, end the run because of it, or execute the work twice.
"""

import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from resources.database import DATABASE
from sisu_pipeline import database_server as server
from sisu_pipeline.proof.chaos import verdict
from sisu_pipeline.proof.chaos.scenarios import Operation, Scenario, ScenarioKind
from sisu_pipeline.proof.chaos.workload import ScenarioOutcome, perform
from sisu_pipeline.proof.harness import stack_processes
from sisu_pipeline.proof.harness.lab_rounds import MOCK, Json, fresh_home, write_report
from sisu_pipeline.proof.harness.lab_stack import LabFailed, lab_stack
from sisu_pipeline.proof.harness.postgres_proxy import Cut, Moment, PostgresProxy, Statement
from sisu_pipeline.proof.harness.progress_bar import ReportProgress, progress
from sisu_pipeline.proof.harness.running_stack import RunningStack, connect_to
from sisu_pipeline.settings import load_settings

NAME = "cuts"
VARIABLES = MOCK | {"INTENT_QUEUE_RATE_LIMIT_PER_PERIOD": "0", "SBX_QUEUE_RATE_LIMIT_PER_PERIOD": "0"}
KINDS = {
    ScenarioKind.APPROVED: Operation.APPROVE,
    ScenarioKind.FAILS: Operation.APPROVE,
    ScenarioKind.REJECTED: Operation.REJECT,
    ScenarioKind.CANCELED: Operation.CANCEL,
}
"""The kinds of intents in which connections are cut, and the operation at their gate."""
OBSERVED_INTENTS = 2
"""Number of intents of each kind whose statements are recorded before the first cut."""
FIRST_OCCURRENCES = 3
"""A statement that is sent often is cut at its first occurrences and at its last."""
_TASKS = 2
_END_TIMEOUT_S = 90.0

StatementCounts = Mapping[ScenarioKind, Mapping[Statement, int]]


@dataclass(frozen=True)
class PlannedCut:
    """A cut, and the kind of intent in which it is made."""

    kind: ScenarioKind
    cut: Cut


@dataclass
class CutsRun:
    """One run of the lab: the recorded statements, the cuts planned and made by scenario number, the verdict."""

    seed: int
    home: Path
    statements: StatementCounts = field(default_factory=dict)
    planned: dict[int, PlannedCut] = field(default_factory=dict)
    outcomes: list[ScenarioOutcome] = field(default_factory=list)
    made: set[int] = field(default_factory=set)
    seconds: list[float] = field(default_factory=list)
    verdict: Json = field(default_factory=dict)
    error: str | None = None

    def report(self) -> Json:
        """The report, with the cut behind each violation."""
        by_component = Counter(self.planned[number].cut.statement.component for number in sorted(self.made))
        judged = bool(self.verdict) and bool(self.verdict["passed"])
        return {
            "lab": NAME,
            "seed": self.seed,
            "passed": judged and self.error is None and bool(self.made),
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


def run(count: int | None, seed: int, *, kill_process: bool = False, home: Path | None = None) -> CutsRun:
    """Make `count` cuts, drawn by the seed, or every one; writes the report to the data folder.

    `kill_process`: kill the process that sends the statement instead of cutting its connection. Ctrl-C ends the run
    early, without a verdict.
    """
    cuts = CutsRun(seed, home or fresh_home(NAME))
    try:
        with _proxied_stack(cuts.home) as (proxy, stack):
            cuts.statements = _observe(cuts, proxy, stack)
            plan = draw(cuts.statements, count, seed, kill_process=kill_process)
            with progress(NAME, len(plan)) as report_progress:
                for planned in plan:
                    _make(cuts, proxy, stack, planned, report_progress)
            with stack.database.connect() as connection:
                cuts.verdict = verdict.judge(connection, cuts.outcomes, stack.process.settings.workspaces)
    except LabFailed as failure:
        cuts.error = str(failure)
    except KeyboardInterrupt:
        cuts.error = "interrupted"
    write_report(cuts.home, cuts.report())
    return cuts


def draw(
    statements: StatementCounts, count: int | None, seed: int, *, kill_process: bool = False
) -> list[PlannedCut]:
    """Plan a cut before and after every statement, at its first and last occurrences; draw `count` of them. Pure.

    Statements of an intent worker are cut in every kind of intent, those of other processes in the first kind only.
    """
    every: list[PlannedCut] = []
    known: set[Statement] = set()
    for kind, counts in statements.items():
        for statement in sorted(counts, key=lambda each: (each.component, each.text)):
            if statement in known and statement.component != "intent_worker":
                continue
            known.add(statement)
            last = max(1, counts[statement] // OBSERVED_INTENTS)
            occurrences = sorted({*range(1, min(FIRST_OCCURRENCES, last) + 1), last})
            every += [
                PlannedCut(kind, Cut(statement, occurrence, moment, kill_process))
                for occurrence in occurrences
                for moment in Moment
            ]
    if count is None or count >= len(every):
        return every
    return random.Random(f"{NAME}/{seed}").sample(every, count)  # noqa: S311


@contextmanager
def _proxied_stack(home: Path) -> Iterator[tuple[PostgresProxy, RunningStack]]:
    """Start an embedded server, a proxy in front of it, and a stack that connects through the proxy."""
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
            lab_stack(home / "stack", VARIABLES | {"DATABASE_URL": url}) as process,
            connect_to(process) as stack,
        ):
            yield proxy, stack
    finally:
        server.down(upstream)


def _observe(cuts: CutsRun, proxy: PostgresProxy, stack: RunningStack) -> StatementCounts:
    """Record the statements of each kind of intent, after a warm-up."""
    statements: dict[ScenarioKind, Mapping[Statement, int]] = {}
    for kind in KINDS:
        _run_intent(cuts, stack, kind)
    for kind in KINDS:
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
    outcome = ScenarioOutcome(_scenario(len(cuts.outcomes), kind, cuts.seed))
    cuts.outcomes.append(outcome)
    perform(stack.post, outcome, Operation.SUBMIT)

    def row() -> Json:
        return stack.row("labs.of_run", workflow_id=outcome.workflow_id)

    def open_work() -> list[str]:
        unsettled = stack.rows("labs.unsettled")
        return [each["place"] for each in unsettled if each["workflow_id"] == outcome.workflow_id]

    # A run that ends without reaching its gate also ends this wait.
    stack.wait_until(
        lambda: row()["status"] not in ("queued", "running"), _END_TIMEOUT_S, lambda: f"its gate: {row()}"
    )
    perform(stack.post, outcome, KINDS[kind])
    stack.wait_until(lambda: not open_work(), _END_TIMEOUT_S, lambda: f"the end of {open_work()}")


def _scenario(number: int, kind: ScenarioKind, seed: int) -> Scenario:
    patch = {"targetPath": "notes.txt", "postimageContent": "patched\n", "diffText": "-before\n+patched\n"}
    inputs = {
        "tests": [f"t{task}" for task in range(_TASKS)],
        "testCommand": "FAIL_ME" if kind is ScenarioKind.FAILS else "run",
        "files": {"notes.txt": "before\n", "kept.txt": "kept\n"},
        "patches": [patch],
    }
    return Scenario(number, kind, f"cut {seed}: intent {number}", inputs, NAME, ())


def summary(report: Json) -> str:
    """The report as text."""
    verdict = report["verdict"]
    lines = [
        f"{NAME}: {'passed' if report['passed'] else 'FAILED'}, seed {report['seed']}",
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
    for each in report["breaches"]:
        lines.append(f"  * {each['breach']}: {each['intent']}: {each['detail']}")
        if "statement" in each:
            lines.append(f"    {each['moment']}, occurrence {each['occurrence']}: {each['statement']}")
    lines.append(f"  report {report['data']}/report.json")
    return "\n".join(lines)
