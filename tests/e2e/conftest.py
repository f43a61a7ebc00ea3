"""A whole stack, as `sisu start` runs it, for tests that see it from outside."""

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

PATIENCE_S = 60.0
STOPS_WITHIN_S = 10.0


@dataclass(frozen=True)
class Said:
    """What a command said, and how it ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """Its one JSON document; fails when there is anything else on stdout."""
        return json.loads(self.stdout)


Sisu = Callable[..., Said]


@pytest.fixture(scope="session")
def stack() -> Iterator[LabStack]:
    """A running stack of two intent workers, without rate limits; asserts that it stops in time and whole."""
    with tempfile.TemporaryDirectory(prefix="sisu-e2e-", ignore_cleanup_errors=True) as folder:
        variables = {
            "SISU_PROFILE": "warm",
            "INTENT_QUEUE_RATE_LIMIT_PER_PERIOD": "0",
            "OC_MODE": "replay",
            "SBX_MODE": "mock",
        }
        with lab_stack(Path(folder), variables, workers=2) as running:
            yield running
            # It raises when a process is left behind.
            assert running.stop() < STOPS_WITHIN_S


@pytest.fixture(scope="session")
def sisu(stack: LabStack) -> Sisu:
    """Runs `sisu` as a person on the stack's machine does."""

    def run(*arguments: str, given: str | None = None) -> Said:
        return run_sisu(stack.environment, *arguments, given=given)

    return run


@pytest.fixture(scope="session")
def api(stack: LabStack) -> Iterator[Api]:
    """The stack's API."""
    client = Api(stack.url)
    yield client
    client.close()


@pytest.fixture(scope="session")
def stack_database(stack: LabStack) -> Database:
    """The stack's database."""
    return locate(stack.settings)


def run_sisu(environment: dict[str, str], *arguments: str, given: str | None = None) -> Said:
    """Run `sisu` to its end with an environment and, when given, this standard input."""
    done = subprocess.run(
        [sys.executable, "-m", "sisu_pipeline.cli", *arguments],
        cwd=PROJECT_ROOT,
        env=environment,
        input=given,
        stdin=subprocess.DEVNULL if given is None else None,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr)


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds; fails with what it is after a minute."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:.0f} s: {what}"
        time.sleep(0.05)
