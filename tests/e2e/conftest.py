"""A whole stack, as `sisu start` runs it, for tests from outside."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from resources.database import Database
from sisu_pipeline.console.api_client import Api
from sisu_pipeline.database_server import locate
from sisu_pipeline.proof.harness.lab_stack import LabStack, lab_stack
from sisu_pipeline.settings import PROJECT_ROOT
from tests.e2e.browser import CHROMEDRIVER, CHROMIUM, Browser, browser

TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class CommandResult:
    """Exit code and output of a command."""

    status: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """The JSON document on stdout; fails if there is anything else."""
        return json.loads(self.stdout)


Sisu = Callable[..., CommandResult]


# Idle workers look at their queues 20 times a second: a stack that outlived its tests would slow all later ones.
@pytest.fixture(scope="package")
def stack() -> Iterator[LabStack]:
    """A running stack of two intent workers, without rate limits; asserts that it stops in time and completely."""
    with tempfile.TemporaryDirectory(prefix="sisu-e2e-", ignore_cleanup_errors=True) as folder:
        variables = {
            "SISU_PROFILE": "warm",
            "INTENT_QUEUE_RATE_LIMIT_PER_PERIOD": "0",
            "OC_MODE": "replay",
            "SBX_MODE": "mock",
        }
        with lab_stack(Path(folder), variables, workers=2) as running:
            yield running
            # `stop` raises when a process is left behind.
            assert running.stop() < STOP_TIMEOUT_S


@pytest.fixture(scope="package")
def sisu(stack: LabStack) -> Sisu:
    """Run `sisu` as a user of the stack's machine does."""

    def run(*arguments: str, stdin: str | None = None) -> CommandResult:
        return run_sisu(stack.environment, *arguments, stdin=stdin)

    return run


@pytest.fixture(scope="package")
def api(stack: LabStack) -> Iterator[Api]:
    """The stack's API."""
    client = Api(stack.url)
    yield client
    client.close()


@pytest.fixture(scope="package")
def stack_database(stack: LabStack) -> Database:
    """The stack's database."""
    return locate(stack.settings)


@pytest.fixture(scope="package")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests of pages."""
    if CHROMIUM is None or CHROMEDRIVER is None:
        pytest.skip("no chromium and chromedriver here")
    with browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


def run_sisu(environment: dict[str, str], *arguments: str, stdin: str | None = None) -> CommandResult:
    """Run `sisu` to its end with an environment and an optional standard input."""
    done = subprocess.run(
        [sys.executable, "-m", "sisu_pipeline.cli", *arguments],
        cwd=PROJECT_ROOT,
        env=environment,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return CommandResult(done.returncode, done.stdout, done.stderr)


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds; fails after a minute."""
    deadline = time.monotonic() + TIMEOUT_S
    while not holds():
        assert time.monotonic() < deadline, f"timed out after {TIMEOUT_S:.0f} s waiting for {what}"
        time.sleep(0.05)
