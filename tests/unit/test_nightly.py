"""`scripts/nightly`: every part runs, the summary says which failed, and the reports are committed on request."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sisu_pipeline.settings import PROJECT_ROOT

# A lab that records its arguments and writes its report; live chaos fails.
SISU = """#!/bin/sh
echo "$@" >> calls
while [ $# -gt 0 ]; do [ "$1" != --report ] || echo report > "$2"; [ "$1" != --live ] || failed=1; shift; done
exit ${failed:-0}
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with the script, a stub of `sisu` and of one target."""
    for folder in ("scripts", "docs", ".venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(PROJECT_ROOT / "scripts" / "nightly", tmp_path / "scripts")
    (tmp_path / ".venv/bin/sisu").write_text(SISU)
    (tmp_path / ".venv/bin/sisu").chmod(0o755)
    (tmp_path / "Makefile").write_text("odd-requests:\n\t@echo odd $(ODD) >> calls\n")
    for command in (("init", "--quiet"), ("add", "scripts"), ("commit", "--quiet", "-m", "first")):
        git(tmp_path, *command)
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    return subprocess.run(
        ("git", *identity, *arguments), cwd=folder, check=True, capture_output=True, text=True
    ).stdout


def nightly(checkout: Path, **variables: str) -> dict[str, Any]:
    """The summary of a night, which fails."""
    account = {
        "GIT_AUTHOR_NAME": "t",
        "GIT_AUTHOR_EMAIL": "t@x",
        "GIT_COMMITTER_NAME": "t",
        "GIT_COMMITTER_EMAIL": "t@x",
    }
    given = {"PATH": os.environ["PATH"], **account, **variables}
    done = subprocess.run(
        [checkout / "scripts" / "nightly"], env=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "FAILED: .venv/bin/sisu lab chaos --live" in done.stderr
    summary: dict[str, Any] = json.loads((checkout / "docs" / "nightly.json").read_text())
    return summary


def test_every_part_runs_with_one_seed_also_after_one_that_failed(checkout: Path) -> None:
    summary = nightly(checkout, SEED="7", MINUTES="2", ODD="3", ROUNDS="4", CUTS="5")
    assert (checkout / "calls").read_text().splitlines() == [
        "lab chaos --minutes 2 --seed 7 --report docs/chaos-report.md",
        "lab chaos --live --minutes 2 --seed 7 --report docs/chaos-live-report.md",
        "odd 3",
        "lab failover --rounds 4 --seed 7 --report docs/failover-report.json",
        "lab cuts --count 5 --seed 7 --report docs/cuts-report.json",
    ]
    assert summary["seed"] == 7
    assert summary["commit"] == git(checkout, "rev-parse", "HEAD").strip()
    assert [part["passed"] for part in summary["parts"]] == [True, False, True, True, True]
    assert "sisu lab chaos --live --minutes 2 --seed 7" in summary["parts"][1]["command"]


def test_the_reports_are_committed_on_request(checkout: Path) -> None:
    seed = nightly(checkout, COMMIT="1")["seed"]
    assert git(checkout, "log", "-1", "--format=%s") == f"Record the labs of a night, seed {seed}\n"
    committed = git(checkout, "show", "--format=", "--name-only", "HEAD").split()
    names = ("chaos-live-report.md", "chaos-report.md", "cuts-report.json", "failover-report.json", "nightly.json")
    assert committed == [f"docs/{name}" for name in names]
