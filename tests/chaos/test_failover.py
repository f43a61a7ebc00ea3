"""Lab failover: one round on a primary and its synchronous standby."""

import json
import tempfile
from pathlib import Path

import pytest

from sisu_pipeline.proof.harness import lab_rounds
from sisu_pipeline.proof.labs.failover import lab

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_nothing_acknowledged_is_lost_when_the_primary_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tempfile.TemporaryDirectory(prefix="sisu-fo-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setattr(lab_rounds, "fresh_home", lambda name: Path(folder))
        report = lab_rounds.run(lab(), soak=1, seed=1)
        assert report["passed"], json.dumps(report, default=str)
        (only,) = report["rounds"]
        assert only["evidence"]["rows_read_before_the_kill"] > 0
        assert [fault["kind"] for fault in only["faults"]] == [
            "SIGKILL",
            "promotion",
            "restart as a separate writer",
            "pg_terminate_backend",
        ]
