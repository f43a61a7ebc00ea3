"""A stack with crash points: `sisu start` as a process, whose crash points are the files of a folder."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sisu_pipeline.proof.harness.lab_stack import lab_stack
from sisu_pipeline.proof.harness.running_stack import RunningStack, connect_to

VARIABLES = {
    "SBX_MODE": "mock",
    "INTENT_QUEUE_RATE_LIMIT_PER_PERIOD": "0",
    "DAGSTER_DISABLE_TELEMETRY": "1",
}


@dataclass(frozen=True)
class CrashStack:
    """A running stack and the folder of crash points: a process dies at the points that are named there."""

    stack: RunningStack
    crash_points: Path


@pytest.fixture(scope="module")
def crash_stack() -> Iterator[CrashStack]:
    """One stack for all tests of a module: its supervisor restarts every process that dies."""
    with tempfile.TemporaryDirectory(prefix="sisu-chaos-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        crash_points = Path(folder) / "crash_points"
        crash_points.mkdir()
        variables = VARIABLES | {"SISU_CRASH_AT": str(crash_points)}
        with lab_stack(Path(folder) / "home", variables) as process, connect_to(process) as stack:
            yield CrashStack(stack, crash_points)
