"""Whose settings a report is about: those of the process that holds the data folder, otherwise the shell's."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sisu_pipeline.settings import child_environment, load_settings
from sisu_pipeline.supervisor.stack_settings import LOCK, database_settings, reported

_HOLDS = "import sys; held = open(sys.argv[1], 'a'); print('ready', flush=True); sys.stdin.read()"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user of the machine can read."""
    with tempfile.TemporaryDirectory(prefix="sisu-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture
def supervisor(folder: Path) -> Iterator[psutil.Process]:
    """A process that holds the lock of the data folder `home`, as `sisu start` does, with settings of its own."""
    (folder / "home").mkdir()
    lock = folder / "home" / LOCK
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDS, str(lock)],
        env=child_environment(
            SISU_HOME="home",
            SISU_NOTIFICATIONS="receivers.json",
            SBX_MODE="live",
            DATABASE_URL="postgresql://stack.invalid/app",
        ),
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdout.readline()
    lock.write_text(str(process.pid))
    yield psutil.Process(process.pid)
    process.stdin.close()
    process.stdout.close()
    process.wait()


def test_relative_paths_are_those_of_the_stacks_folder(supervisor: psutil.Process, folder: Path) -> None:
    found = reported(load_settings({"SISU_HOME": str(folder / "home")}))
    assert (found.process, found.settings.sbx_mode) == (supervisor.pid, "live")
    assert (found.settings.home, found.settings.receivers_file) == (folder / "home", folder / "receivers.json")
    assert [each.variable for each in found.differences] == ["SISU_NOTIFICATIONS", "DATABASE_URL", "SBX_MODE"]


def test_a_report_uses_the_database_that_the_shell_names(supervisor: psutil.Process, folder: Path) -> None:
    home = {"SISU_HOME": str(folder / "home")}
    of_stack, of_shell = (
        database_settings(load_settings(environment)).database_url
        for environment in (home, {**home, "DATABASE_URL": "postgresql://shell.invalid/app"})
    )
    assert of_stack is not None and of_stack.get_secret_value() == "postgresql://stack.invalid/app"
    assert of_shell is not None and of_shell.get_secret_value() == "postgresql://shell.invalid/app"


@pytest.mark.parametrize(
    "recorded", ["", "none", str(os.getpid()), str(2**22 + 1)], ids=["nothing", "no id", "a process", "no process"]
)
def test_without_a_running_stack_the_settings_are_the_shells(tmp_path: Path, recorded: str) -> None:
    """Also where the recorded id is meanwhile another process's, which does not hold the lock."""
    (tmp_path / LOCK).write_text(recorded)
    shell = load_settings({"SISU_HOME": str(tmp_path), "SBX_MODE": "live"})
    found = reported(shell)
    assert (found.settings, found.process, found.differences) == (shell, None, ())
    assert found.origin == f"settings of this shell: no stack is running on {tmp_path}"


@pytest.mark.skipif(os.getuid() != 0, reason="only root runs a process as another user")
def test_a_stack_of_another_user_is_reported_as_unreadable(supervisor: psutil.Process, folder: Path) -> None:
    program = (
        "import os, sys\n"
        "from sisu_pipeline.settings import load_settings\n"
        "from sisu_pipeline.supervisor.stack_settings import reported\n"
        "os.setuid(65534)\n"
        "print(reported(load_settings({'SISU_HOME': sys.argv[1]})).is_unreadable)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder / "home")], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "True", done.stderr
