"""The README's commands work as they stand: every `bash` block is run, in order, as a newcomer would."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from sisu_pipeline.proof.harness.lab_stack import free_ports
from sisu_pipeline.settings import PROJECT_ROOT, child_environment
from tests.e2e.conftest import STOP_TIMEOUT_S, run_sisu, until
from tests.e2e.jq import with_jq

_BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LONGEST_S = 600

Environment = dict[str, str]


def blocks() -> list[str]:
    """The README's commands, block by block."""
    return _BLOCK.findall((PROJECT_ROOT / "README.md").read_text())


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Environment]:
    """A newcomer's environment, but with a data folder and ports of its own."""
    port, admin_port = map(str, free_ports(2))
    with TemporaryDirectory(prefix="sisu-readme-", ignore_cleanup_errors=True) as home:
        values = child_environment(SISU_HOME=home, PORT=port, ADMIN_PORT=admin_port)
        for name in ("DATABASE_URL", "SBX_MODE", "SBX_PROVIDER", "VIRTUAL_ENV"):
            values.pop(name, None)
        # What L00's `mise run quick` tests is tested here anyway: it gets the policy gates only.
        values |= {"JOBS": "0", "PYTEST_ADDOPTS": "-k test_policy_gates"}
        values["PATH"] = f"{PROJECT_ROOT}/node_modules/.bin:{values['PATH']}"
        yield with_jq(values, tmp_path)
        # L00 leaves the database running, as it should.
        run_sisu(values, "db", "down")


@pytest.mark.timeout(_LONGEST_S)
def test_the_first_command_shows_three_intents(environment: Environment) -> None:
    printed = _demonstrated(environment)
    assert "SBX execution failed [CMD_NONZERO]: 1 of 14 tasks" in printed
    assert "codex-acp 2.6.0" in printed and "tasks 15 of 15" in printed
    assert "replay " not in printed


@pytest.mark.slow
@pytest.mark.timeout(_LONGEST_S)
def test_the_first_command_replays_its_intents_the_second_time(environment: Environment) -> None:
    _demonstrated(environment)
    again = _demonstrated(environment)
    assert again.count("the same ids, the same rows, nothing executed again") == 3


def _demonstrated(environment: Environment) -> str:
    """What the first command prints; checked for what it prints each time."""
    demo, *_ = blocks()
    assert demo == "make demo\n"
    printed = _run(demo, environment)
    assert "succeeded" in printed
    assert re.search(r"branch +sisu/run_\w+: its tree is that of 8d4f1252121d with the approved changes", printed)
    return printed


@pytest.mark.timeout(_LONGEST_S)
@pytest.mark.skipif(shutil.which("npm") is None, reason="L00 gets mise from npm")
@pytest.mark.slow
def test_the_labs_work_word_for_word(environment: Environment) -> None:
    _, bootstrap, server, *shell = blocks()
    assert "All checks passed!" in _run(bootstrap, environment)
    with _running(server, environment):
        printed = "".join(_run(block, environment) for block in shell)
    assert "succeeded · last step ExecuteST · gate approved by po (api) · tasks 1 of 1" in printed
    assert "0 broken" in printed


@contextmanager
def _running(block: str, environment: Environment) -> Iterator[None]:
    """A block that runs until Ctrl-C, once its API answers."""
    command = ["bash", "-c", _on_free_ports(block, environment)]
    process = subprocess.Popen(command, cwd=PROJECT_ROOT, env=environment, start_new_session=True)

    def answers() -> bool:
        assert process.poll() is None, "the server ended"
        return run_sisu(environment, "doctor").status == 0

    try:
        until(answers, "everything runs")
        yield
    finally:
        # A terminal's Ctrl-C goes to every process in the foreground.
        os.killpg(process.pid, signal.SIGINT)
        process.wait(STOP_TIMEOUT_S)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{environment['PORT']}/healthz")


def _run(block: str, environment: Environment) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", _on_free_ports(block, environment)],
        cwd=PROJECT_ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _on_free_ports(block: str, environment: Environment) -> str:
    return block.replace("3001", environment["PORT"]).replace("3002", environment["ADMIN_PORT"])
