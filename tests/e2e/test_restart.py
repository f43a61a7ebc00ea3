"""Ten intents wait for approval while every process and Postgres are killed; all succeed after the restart."""

import json
import subprocess
import sys
from tempfile import TemporaryDirectory

import pytest

from sisu_pipeline.settings import PROJECT_ROOT, child_environment

INTENTS = 10
_TIMEOUT_S = 240


@pytest.mark.slow
def test_waiting_intents_survive_the_death_of_every_process_and_of_the_database() -> None:
    with TemporaryDirectory(prefix="sisu-", ignore_cleanup_errors=True) as home:
        done = subprocess.run(
            [sys.executable, "-m", "sisu_pipeline.cli", "lab", "restart", "--count", str(INTENTS), "--json"],
            cwd=PROJECT_ROOT,
            env=child_environment(SISU_HOME=home),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    (evidence,) = (each["evidence"] for each in report["rounds"])
    assert (evidence["succeeded"], evidence["stranded"]) == (INTENTS, 0)
    assert report["verdict"]["broken"] == {}
    assert {fault["target"] for each in report["rounds"] for fault in each["faults"]} == {"everything", "postgres"}
