"""`sisu lab cuts`: whatever statement loses its connection, done or not, intents end as they should.

Chaos cuts connections at random, and seldom in the few milliseconds that matter. Here each statement that a process
says in the life of an intent is cut on purpose, one intent for each: a lost COMMIT may have been done or not, and
nobody must take either for the end of a run, or do it twice.
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
from sisu_pipeline.proof.chaos.scenarios import Plot, Story, Verb
from sisu_pipeline.proof.chaos.workload import Told, perform
from sisu_pipeline.proof.harness import running_stack as stages
from sisu_pipeline.proof.harness import stack_processes
from sisu_pipeline.proof.harness.lab_rounds import MOCK, Json, fresh_home, write_report
from sisu_pipeline.proof.harness.lab_stack import LabFailed, lab_stack
from sisu_pipeline.proof.harness.postgres_proxy import Cut, Moment, Statement, Wire
from sisu_pipeline.proof.harness.progress_bar import Progress, progress
from sisu_pipeline.proof.harness.running_stack import Stage
from sisu_pipeline.settings import load_settings

NAME = "cuts"
VARIABLES = MOCK | {"INTENT_QUEUE_RATE_LIMIT_PER_PERIOD": "0", "SBX_QUEUE_RATE_LIMIT_PER_PERIOD": "0"}
PLOTS = {
    Plot.APPROVED: Verb.APPROVE,
    Plot.FAILS: Verb.APPROVE,
    Plot.REJECTED: Verb.REJECT,
    Plot.CANCELED: Verb.CANCEL,
}
"""The lives of intents that are cut into, and what a person does when each waits."""
HEARD = 2
"""How many lives of each kind are listened to, to know what is said in one."""
FIRST_TIMES = 3
"""Of what is said often in a life, the first times are cut, and the last."""
_TASKS = 2
_ENDS_WITHIN_S = 90.0

Heard = Mapping[Plot, Mapping[Statement, int]]


@dataclass(frozen=True)
class Planned:
    """A cut, and the life it is made in."""

    plot: Plot
    cut: Cut


@dataclass
class Cutting:
    """What was heard, planned and done; `met` are the numbers of the stories whose cut was made."""

    seed: int
    home: Path
    heard: Heard = field(default_factory=dict)
    planned: dict[int, Planned] = field(default_factory=dict)
    told: list[Told] = field(default_factory=list)
    met: set[int] = field(default_factory=set)
    seconds: list[float] = field(default_factory=list)
    verdict: Json = field(default_factory=dict)
    error: str | None = None

    def report(self) -> Json:
        """Everything, the cuts that were not survived one by one."""
        by_component = Counter(self.planned[number].cut.statement.component for number in sorted(self.met))
        judged = bool(self.verdict) and bool(self.verdict["passed"])
        return {
            "lab": NAME,
            "seed": self.seed,
            "passed": judged and self.error is None and bool(self.met),
            **({"error": self.error} if self.error else {}),
            "heard": {str(plot): len(statements) for plot, statements in self.heard.items()},
            "planned": len(self.planned),
            "made": len(self.met),
            "made_by_component": dict(by_component),
            "slowest_life_s": max(self.seconds, default=0.0),
            "median_life_s": sorted(self.seconds)[len(self.seconds) // 2] if self.seconds else 0.0,
            "verdict": self.verdict,
            "breaches": [self._breach(one) for one in self.verdict.get("violations", [])],
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


def run(count: int | None, seed: int, *, kills: bool = False, home: Path | None = None) -> Cutting:
    """Cut `count` connections, drawn by the seed from all there are to cut, or each of them.

    `kills`: the process that says the statement dies, instead of losing one connection. Ctrl-C ends it early; what
    was done is not judged then.
    """
    cutting = Cutting(seed, home or fresh_home(NAME))
    try:
        with _wired(cutting.home) as (wire, stage):
            cutting.heard = _listen(cutting, wire, stage)
            plan = draw(cutting.heard, count, seed, kills=kills)
            with progress(NAME, len(plan)) as tick:
                for planned in plan:
                    _make(cutting, wire, stage, planned, tick)
            with stage.database.connect() as connection:
                cutting.verdict = verdict.judge(connection, cutting.told, stage.stack.settings.workspaces)
    except LabFailed as failure:
        cutting.error = str(failure)
    except KeyboardInterrupt:
        cutting.error = "interrupted"
    write_report(cutting.home, cutting.report())
    return cutting


def draw(heard: Heard, count: int | None, seed: int, *, kills: bool = False) -> list[Planned]:
    """Every statement, before and after, its first times and its last; of these `count`, drawn by the seed. Pure.

    What an intent worker says is cut in every kind of life; what another process says, in the first that has it.
    """
    every: list[Planned] = []
    known: set[Statement] = set()
    for plot, statements in heard.items():
        for statement in sorted(statements, key=lambda one: (one.component, one.text)):
            if statement in known and statement.component != "intent_worker":
                continue
            known.add(statement)
            last = max(1, statements[statement] // HEARD)
            times = sorted({*range(1, min(FIRST_TIMES, last) + 1), last})
            every += [Planned(plot, Cut(statement, at, moment, kills)) for at in times for moment in Moment]
    if count is None or count >= len(every):
        return every
    return random.Random(f"{NAME}/{seed}").sample(every, count)  # noqa: S311


@contextmanager
def _wired(home: Path) -> Iterator[tuple[Wire, Stage]]:
    """A stack whose every connection passes a wire; the server behind it is embedded, of its own."""
    for name in ("server", "wire"):
        (home / name).mkdir(parents=True)
        (home / name).chmod(0o755)
    behind = load_settings({"SISU_HOME": str(home / "server")})
    server.up(behind)
    try:
        wire = Wire(server.embedded(behind).folder, stack_processes.component_of)
        url = f"postgresql://postgres@/{DATABASE}?host={quote(str(home / 'wire'), safe='')}"
        with (
            wire.listen(home / "wire"),
            lab_stack(home / "stack", VARIABLES | {"DATABASE_URL": url}) as stack,
            stages.on(stack) as stage,
        ):
            yield wire, stage
    finally:
        server.down(behind)


def _listen(cutting: Cutting, wire: Wire, stage: Stage) -> Heard:
    """What is said in each kind of life, once everything is warm."""
    heard: dict[Plot, Mapping[Statement, int]] = {}
    for plot in PLOTS:
        _live(cutting, stage, plot)
    for plot in PLOTS:
        wire.arm(None)
        for _ in range(HEARD):
            _live(cutting, stage, plot)
        heard[plot] = wire.heard.copy()
    return heard


def _make(cutting: Cutting, wire: Wire, stage: Stage, planned: Planned, tick: Progress) -> None:
    number = len(cutting.told)
    cutting.planned[number] = planned
    tick(len(cutting.planned) - 1, str(planned.cut.statement)[:60])
    began = time.monotonic()
    wire.arm(planned.cut)
    try:
        _live(cutting, stage, planned.plot)
    except LabFailed as failure:
        if not stage.stack.is_running:
            raise
        # The next ones can be cut all the same; the verdict finds this one.
        tick(len(cutting.planned) - 1, f"FAILED: {failure}")
    cutting.seconds.append(round(time.monotonic() - began, 3))
    if wire.is_cut:
        cutting.met.add(number)
    wire.arm(None)
    tick(len(cutting.planned), str(planned.cut.statement)[:60])


def _live(cutting: Cutting, stage: Stage, plot: Plot) -> None:
    """The whole life of one intent, until nothing of it is left to do; how it ended is for the verdict to judge."""
    one = Told(_story(len(cutting.told), plot, cutting.seed))
    cutting.told.append(one)
    perform(stage.post, one, Verb.SUBMIT)

    def row() -> Json:
        return stage.row("labs.of_run", workflow_id=one.workflow_id)

    def open_ends() -> list[str]:
        return [each["place"] for each in stage.rows("labs.unsettled") if each["workflow_id"] == one.workflow_id]

    # One that ends before anybody has decided waits for nobody.
    stage.until(lambda: row()["status"] not in ("queued", "running"), _ENDS_WITHIN_S, lambda: f"its gate: {row()}")
    perform(stage.post, one, PLOTS[plot])
    stage.until(lambda: not open_ends(), _ENDS_WITHIN_S, lambda: f"the end of {open_ends()}")


def _story(number: int, plot: Plot, seed: int) -> Story:
    patch = {"targetPath": "notes.txt", "postimageContent": "patched\n", "diffText": "-before\n+patched\n"}
    inputs = {
        "tests": [f"t{task}" for task in range(_TASKS)],
        "testCommand": "FAIL_ME" if plot is Plot.FAILS else "run",
        "files": {"notes.txt": "before\n", "kept.txt": "kept\n"},
        "patches": [patch],
    }
    return Story(number, plot, f"cut {seed}: intent {number}", inputs, NAME, ())


def words(report: Json) -> str:
    """The report for people."""
    verdict = report["verdict"]
    lines = [
        f"{NAME}: {'held' if report['passed'] else 'BROKEN'}, seed {report['seed']}",
        f"  statements heard: {report['heard']}",
        f"  cuts: {report['made']} of {report['planned']} made (the others' statements were not said again)",
        f"  made in: {report['made_by_component']}",
        f"  an intent's life with a cut: median {report['median_life_s']} s, slowest {report['slowest_life_s']} s",
    ]
    if report.get("error"):
        lines.append(f"  {report['error']}")
    if verdict:
        counts = ", ".join(f"{name} {verdict[name]}" for name in ("lost", "duplicated", "stuck", "wrong"))
        lines.append(f"  {counts}; laws of the oracle: {verdict['laws']}, {len(verdict['broken_laws'])} broken")
    for one in report["breaches"]:
        lines.append(f"  * {one['breach']}: {one['intent']}: {one['detail']}")
        if "statement" in one:
            lines.append(f"    {one['moment']}, time {one['occurrence']}: {one['statement']}")
    lines.append(f"  report {report['data']}/report.json")
    return "\n".join(lines)
