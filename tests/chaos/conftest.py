"""Whole stacks to break: `sisu start` as a process, with a folder of crash points it looks into."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sisu_pipeline.proof.harness import running_stack as stages
from sisu_pipeline.proof.harness.lab_stack import lab_stack
from sisu_pipeline.proof.harness.running_stack import Stage

VARIABLES = {
    "SBX_MODE": "mock",
    "INTENT_QUEUE_RATE_LIMIT_PER_PERIOD": "0",
    "DAGSTER_DISABLE_TELEMETRY": "1",
}


@dataclass(frozen=True)
class Armed:
    """A running stack whose processes die where a file of this folder says."""

    stage: Stage
    orders: Path


@pytest.fixture(scope="module")
def armed() -> Iterator[Armed]:
    """One stack for many deaths: its supervisor starts again whatever dies."""
    with tempfile.TemporaryDirectory(prefix="sisu-chaos-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        orders = Path(folder) / "orders"
        orders.mkdir()
        variables = VARIABLES | {"SISU_CRASH_AT": str(orders)}
        with lab_stack(Path(folder) / "home", variables) as stack, stages.on(stack) as stage:
            yield Armed(stage, orders)
