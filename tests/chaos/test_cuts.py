"""A sample of `sisu lab cuts`: statements lose their connections, and every intent ends correctly."""

import tempfile
from pathlib import Path

import pytest

from sisu_pipeline.proof.chaos import connection_cuts

pytestmark = pytest.mark.timeout(600)

CUTS = 24
SEED = 7


def test_every_intent_ends_correctly_when_a_statement_loses_its_connection() -> None:
    with tempfile.TemporaryDirectory(prefix="sisu-cuts-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        report = connection_cuts.run(CUTS, SEED, home=Path(folder) / "home").report()
    assert report["passed"], connection_cuts.summary(report)
    assert report["made"] >= CUTS / 2
    assert set(report["heard"]) == {str(kind) for kind in connection_cuts.KINDS}
