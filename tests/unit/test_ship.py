"""`sisu ship` runs the checklist's parts once each, stops at the first failure, and says what holds."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sisu_pipeline.cli.commands import ship_command
from sisu_pipeline.cli.commands.ship_command import CHECKLIST, STEPS, Ship, Step, report
from sisu_pipeline.settings import PROJECT_ROOT


def a_step(name: str, script: str) -> Step:
    return Step(name, (sys.executable, "-c", script))


GOOD = a_step("good", "print('all is well')")
BAD = a_step("bad", "import sys; print('what went wrong'); sys.exit(3)")
LATER = a_step("later", "print('later')")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def run(tmp_path: Path, said: list[str]) -> Ship:
    return Ship(tmp_path / "logs", lambda done, text: said.append(f"{done} {text}"), said.append)


def test_steps_run_in_order_and_each_ones_output_is_kept_and_shown(run: Ship, said: list[str]) -> None:
    run.run([GOOD, LATER])
    assert run.passed
    assert [outcome.log.read_text() for outcome in run.outcomes] == ["all is well\n", "later\n"]
    assert [line.split()[0] for line in said if line.startswith("passed")] == ["passed", "passed"]
    assert "0 good: all is well" in said


def test_the_first_failure_ends_it_and_shows_the_end_of_its_log(run: Ship, said: list[str]) -> None:
    run.run([GOOD, BAD, LATER])
    assert not run.passed
    assert [outcome.exit_status for outcome in run.outcomes] == [0, 3, None]
    assert any("what went wrong" in line and "bad.log" in line for line in said)


def test_keep_going_runs_the_rest_and_it_failed_all_the_same(run: Ship) -> None:
    run.run([BAD, LATER], keep_going=True)
    assert [outcome.exit_status for outcome in run.outcomes] == [3, 0]
    assert not run.passed


def test_a_line_of_the_checklist_holds_when_all_its_steps_passed(
    run: Ship, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ship_command, "CHECKLIST", {"one": ("good",), "both": ("good", "bad"), "other": ("later",)})
    run.run([GOOD, BAD, LATER])
    document = report(run)
    assert {line["line"]: line["holds"] for line in document["checklist"]} == {
        "one": True,
        "both": False,
        "other": False,
    }
    assert [step["passed"] for step in document["steps"]] == [True, False, False]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C as a terminal's process knows it: a test process of many ignores it, and so would its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_lets_the_running_step_clean_up_and_runs_no_other(run: Ship, tmp_path: Path) -> None:
    cleaned = tmp_path / "cleaned"
    script = f"""
import pathlib, time
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    pathlib.Path({str(cleaned)!r}).touch()
"""

    def interrupt() -> None:
        while not any(outcome.log.exists() and outcome.log.read_text() for outcome in run.outcomes):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    run.run([a_step("long", script), LATER], keep_going=True)
    thread.join()
    assert run.interrupted
    assert cleaned.exists()
    assert [outcome.exit_status for outcome in run.outcomes] == [None, None]


def test_every_line_of_the_checklist_names_steps_there_are() -> None:
    names = [step.name for step in STEPS]
    assert len(names) == len(set(names))
    assert {name for needed in CHECKLIST.values() for name in needed} == set(names)


def test_what_the_lanes_run_is_run_by_exactly_one_step() -> None:
    """The lanes of the Makefile taken apart; the two soaks stand for the same labs run once."""
    parts = _parts("full")
    run = [
        part
        for step in STEPS
        if step.command[0] == "make"
        for target in step.command[2:]
        for part in _parts(target)
    ]
    labs = [step.command[4] for step in STEPS if step.command[0] != "make"]
    assert sorted(run + labs) == sorted(parts)


def test_list_shows_every_step_and_runs_none(tmp_path: Path) -> None:
    environment = os.environ | {"SISU_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "sisu_pipeline.cli", "ship", "--list"]
    shown = subprocess.run(command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=True)
    assert all(step.name in shown.stdout for step in STEPS)
    assert not (tmp_path / "ship").exists()


def _parts(target: str) -> list[str]:
    """The targets a lane comes to, in their order; a target that is no lane is itself."""
    needs = dict(re.findall(r"^([a-z0-9-]+): ([^#\n]*)##", (PROJECT_ROOT / "Makefile").read_text(), re.MULTILINE))
    inner = [part for part in needs[target].split() if part in needs]
    return [part for each in inner for part in _parts(each)] or [target]
