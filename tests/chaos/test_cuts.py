"""Samples of `sisu lab cuts`: statements lose their connections, and every intent ends correctly."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sisu_pipeline.proof.chaos import connection_cuts, cut_plan

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CUTS = 24
LIVE_CUTS = 10
SEED = 7


@pytest.fixture
def home() -> Iterator[Path]:
    """A data folder that every uid can enter."""
    with tempfile.TemporaryDirectory(prefix="sisu-cuts-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "home"


def test_every_intent_ends_correctly_when_a_statement_loses_its_connection(home: Path) -> None:
    report = connection_cuts.run(CUTS, SEED, home=home).report()
    assert report["passed"], connection_cuts.summary(report)
    assert report["made"] >= CUTS / 2
    assert set(report["heard"]) == {str(kind) for kind in cut_plan.KINDS}


def test_every_intent_ends_correctly_when_its_plan_loses_a_connection(home: Path) -> None:
    report = connection_cuts.run(LIVE_CUTS, SEED, live=True, home=home).report()
    assert report["passed"], connection_cuts.summary(report)
    assert report["made"] >= LIVE_CUTS / 2
    assert set(report["heard"]) == {str(kind) for kind in cut_plan.LIVE_KINDS}
    assert report["made_by_component"]["planner_worker"] > 0
