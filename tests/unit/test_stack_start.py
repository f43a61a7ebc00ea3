"""How the supervisor of `sisu start` handles programs that end while the stack starts."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sisu_pipeline.settings import load_settings
from sisu_pipeline.supervisor import stack as supervisor
from sisu_pipeline.supervisor.child_processes import cause_of_end
from sisu_pipeline.supervisor.stack import Program, Stack, StackError

# Ends at its first start; at the second, it makes the file that the other program is ready with.
_ENDS_ONCE = """
import pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
if not (folder / "started").exists():
    (folder / "started").touch()
    sys.exit(3)
(folder / "ready").touch()
time.sleep(60)
"""


# Writes two lines and ends, each time in another way; later lines of an earlier run are no cause.
_ENDS_THREE_TIMES = """
import os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
number = len(list(folder.glob("run*")))
(folder / f"run{number}").touch()
if number == 0:
    sys.exit("first line\\n  OSError: no space\\n\\n")
if number == 1:
    os._exit(3)
if number == 2:
    os.kill(os.getpid(), signal.SIGKILL)
(folder / "ready").touch()
time.sleep(60)
"""


class SmallStack(Stack):
    """A stack of the given programs, without a database."""

    given: tuple[Program, ...] = ()

    def programs(self) -> list[Program]:
        return list(self.given)

    def environment(self, program: str) -> dict[str, str]:
        return {}

    def await_all(self) -> None:
        """Start the programs as `start` does, once the database is up."""
        for program in self.given:
            self._spawn(program)
        for program in self.given:
            self._await(program)


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallStack]:
    monkeypatch.setattr(supervisor, "_RESTART_PAUSE_S", 0.02)
    settings = load_settings({"SISU_HOME": str(tmp_path), "DATABASE_URL": "postgresql://nowhere/app"})
    small = SmallStack(settings, intent_workers=1, report=lambda line: None)
    yield small
    small.stop()


def a_program(name: str, code: str, *arguments: str, ready_with: Path | None = None) -> Program:
    is_ready = (lambda: True) if ready_with is None else ready_with.exists
    return Program(name, (sys.executable, "-c", code, *arguments), is_ready)


def test_a_program_that_ends_while_the_stack_starts_is_started_again(stack: SmallStack, tmp_path: Path) -> None:
    first = a_program("first", "import time; time.sleep(60)", ready_with=tmp_path / "ready")
    stack.given = (first, a_program("ends-once", _ENDS_ONCE, str(tmp_path)))
    stack.await_all()
    assert stack.restarts == {"ends-once": 1}
    assert all(process.poll() is None for process in stack.running.values())


def test_a_program_that_ends_at_every_start_ends_the_start(stack: SmallStack, tmp_path: Path) -> None:
    stack.given = (a_program("broken", "raise SystemExit(3)", ready_with=tmp_path / "never"),)
    with pytest.raises(StackError, match=r"^broken ended 4 times while starting: see .*broken\.log\.$"):
        stack.await_all()
    assert stack.restarts == {"broken": 4}


def test_the_line_about_a_restart_names_the_cause(stack: SmallStack, tmp_path: Path) -> None:
    lines: list[str] = []
    stack.report = lines.append
    stack.given = (a_program("ends", _ENDS_THREE_TIMES, str(tmp_path), ready_with=tmp_path / "ready"),)
    stack.await_all()
    assert lines == [
        "ends ended (exit 1: OSError: no space): restarted",
        "ends ended (exit 3, without a message): restarted",
        "ends ended (killed by SIGKILL): restarted",
        f"{'ends':<16}ready",
    ]


@pytest.mark.parametrize(
    ("status", "log", "start", "cause"),
    [
        (1, "x" * 300, 0, f"exit 1: {'x' * 199}…"),
        (-6, "Fatal Python error\n", 0, "killed by SIGABRT: Fatal Python error"),
        (-6, "of an earlier process\n", 22, "killed by SIGABRT, without a message"),
        (1, "rotated\n", 10_000, "exit 1: rotated"),
        (1, "\n \n", 0, "exit 1, without a message"),
        (-64, "", 0, "killed by SIGRTMAX, without a message"),
    ],
)
def test_a_cause_is_the_last_line_of_the_process_itself(
    tmp_path: Path, status: int, log: str, start: int, cause: str
) -> None:
    path = tmp_path / "a.log"
    path.write_text(log)
    assert cause_of_end(status, path, start) == cause
    assert cause_of_end(1, tmp_path / "none.log", 0) == "exit 1, without a message"
