"""A coding agent for a lab's stack: its scripts drawn from the seed, its model's server, and the settings.

The agent plays a script, but client, sandbox, tool, proxy and ledger are the real ones. Its script comes from the
model, by the goal of the intent, with random delays and faults.
"""

import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sisu_pipeline.proof.chaos import lab_agent, lab_model
from sisu_pipeline.proof.chaos.lab_model import Script, Turn
from sisu_pipeline.proof.chaos.scenarios import CHANGES, EDITED_FILE, EDITED_TEST, Scenario, ScenarioKind
from sisu_pipeline.proof.harness.lab_rounds import Json
from sisu_pipeline.proof.harness.lab_stack import LabFailed, free_ports
from sisu_pipeline.settings import PROJECT_ROOT
from sisu_pipeline.supervisor.child_processes import die_with_parent
from sisu_pipeline.supervisor.port_probes import port_accepts

CONCURRENCY = 3
"""Agents at once."""
IDLE_S = 10
"""A session that hangs ends after this time."""
_WALL_S = 60
_START_TIMEOUT_S = 30.0
_POLL_S = 0.1
_NO_PLAN = (Turn(0.1),)
_DIES = (Turn(0.1, (("exit", {}),)),)
_HANGS = (Turn(0.1, (("leave_orphan", {}), ("hang", {}))),)
_FAULTY_FIRST_SESSIONS = (_DIES, _HANGS)


@dataclass
class ModelServer:
    """The process of the scripted model; started again when it ends."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] = field(init=False)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.process = self._start()

    @property
    def url(self) -> str:
        """Base URL of its API."""
        return f"http://127.0.0.1:{self.port}/v1"

    @contextmanager
    def running(self) -> Iterator["ModelServer"]:
        """Keep it running inside the block. Raises LabFailed when it does not start."""
        watch = threading.Thread(target=self._watch, name="lab-model")
        watch.start()
        try:
            self._wait_until_ready()
            yield self
        finally:
            self._stopping.set()
            watch.join()
            self.process.kill()
            self.process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                (sys.executable, "-m", lab_model.__name__, str(self.folder)),
                cwd=PROJECT_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    def _watch(self) -> None:
        while not self._stopping.wait(_POLL_S):
            if self.process.poll() is not None:
                self.process = self._start()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not port_accepts(self.port):
            if time.monotonic() > deadline:
                raise LabFailed(f"the scripted model is not ready; log: {self.folder / 'log'}")
            time.sleep(_POLL_S)


@dataclass(frozen=True)
class LivePlanning:
    """What a stack needs to plan with the scripted agent: its settings, its program, and its model's process."""

    variables: dict[str, str]
    model: ModelServer
    agent: Path

    def prepare(self, scenario: Scenario, script: Script) -> None:
        """Give the model what it answers about the goal of a scenario, before that is submitted."""
        lab_model.write_script(self.model.folder, scenario.goal, script)
        if scenario.kind is ScenarioKind.REVISED:
            lab_model.write_script(self.model.folder, scenario.goal + CHANGES, _revised(scenario, script))


@contextmanager
def live_planning(home: Path) -> Iterator[LivePlanning]:
    """Run the scripted model for a stack with the data folder `home`. Raises LabFailed."""
    folder = home / "model"
    (port,) = free_ports(1)
    lab_model.make_folder(folder, port)
    # A copy in the data folder: by its path, every process of the agent can be told from those of other stacks.
    agent = Path(shutil.copyfile(lab_agent.__file__, home / "lab_agent.py"))
    agent.chmod(0o644)
    key = folder / "key"
    key.write_text(lab_model.KEY)
    with ModelServer(folder, port).running() as model:
        variables = {
            "SISU_PROFILE": "warm",
            "OC_MODE": "live",
            "OC_AGENT": f"python3 {agent}",
            "OC_AGENT_PATHS": str(agent),
            "OC_MODEL": "lab",
            "OC_PROVIDER_URL": model.url,
            "OC_API_KEY_FILE": str(key),
            "OC_INPUT_PRICE": "1",
            "OC_OUTPUT_PRICE": "5",
            "OC_CONCURRENCY": str(CONCURRENCY),
            "OC_IDLE_S": str(IDLE_S),
            "OC_WALL_S": str(_WALL_S),
        }
        yield LivePlanning(variables, model, agent)


def draw_script(seed: int, scenario: Scenario, *, faults: bool = True) -> Script:
    """Draw the model's answers about a scenario's goal: plan, delays, and perhaps a fault at first. Pure."""
    rng = random.Random(f"chaos/{seed}/model/{scenario.number}")  # noqa: S311 - a schedule is no secret
    planning = _planning(rng, scenario)
    is_faulty = rng.random() < 0.15 and faults
    match scenario.kind:
        case ScenarioKind.PLANLESS:
            return Script((_NO_PLAN,))
        case ScenarioKind.REPLANNED:
            return Script((_NO_PLAN, planning))
        case ScenarioKind.AGENT_DIES:
            return Script((_DIES,))
        case ScenarioKind.CANCELED if is_faulty:
            return Script((_HANGS,))
    return Script((rng.choice(_FAULTY_FIRST_SESSIONS), planning) if is_faulty else (planning,))


def _revised(scenario: Scenario, script: Script) -> Script:
    """The sessions about a request for changes: those of the first plan, with the changed test and text."""

    def changed(name: str, given: Json) -> tuple[str, Json]:
        if name == "submit_plan":
            return name, {**given, "tests": [EDITED_TEST]}
        is_edited = name == "write" and given["path"] == EDITED_FILE
        return name, {**given, "text": scenario.edited_text} if is_edited else given

    return Script(
        tuple(
            tuple(Turn(turn.delay_s, tuple(changed(*call) for call in turn.calls)) for turn in session)
            for session in script.sessions
        )
    )


def _planning(rng: random.Random, scenario: Scenario) -> tuple[Turn, ...]:
    """A session that edits the files, submits the plan and ends."""
    plan = {
        "design": [f"the change of {scenario.goal}"],
        "files": sorted(patch["targetPath"] for patch in scenario.patches),
        "risks": [],
        "tests": scenario.inputs["tests"],
        "testCommand": scenario.inputs["testCommand"],
    }
    orphan: list[tuple[str, Json]] = [("leave_orphan", {})] if rng.random() < 0.1 else []
    edits = tuple(_edit(patch) for patch in scenario.patches)
    delays = [round(rng.uniform(0.0, 1.2), 3) for _ in range(3)]
    return (
        Turn(delays[0], (*orphan, *edits, ("write", {"path": "node_modules/ignored", "text": "ignored\n"}))),
        Turn(delays[1], (("submit_plan", plan),)),
        Turn(delays[2]),
    )


def _edit(patch: dict[str, str]) -> tuple[str, dict[str, str]]:
    path = patch["targetPath"]
    match patch.get("op"):
        case "delete":
            return "remove", {"path": path}
        case "rename":
            return "rename", {"source": patch["fromPath"], "path": path, "mode": patch["mode"]}
    return "write", {"path": path, "text": patch["postimageContent"]}
