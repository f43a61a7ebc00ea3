"""Some of `sisu lab cuts`: statements lose their connections, and every intent ends as it should."""

import tempfile
from pathlib import Path

import pytest

from sisu_pipeline.proof.chaos import connection_cuts

pytestmark = pytest.mark.timeout(600)

CUTS = 24
SEED = 7


def test_whatever_statement_loses_its_connection_intents_end_as_they_should() -> None:
    with tempfile.TemporaryDirectory(prefix="sisu-cuts-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        report = connection_cuts.run(CUTS, SEED, home=Path(folder) / "home").report()
    assert report["passed"], connection_cuts.words(report)
    assert report["made"] >= CUTS / 2
    assert set(report["heard"]) == {str(plot) for plot in connection_cuts.PLOTS}
