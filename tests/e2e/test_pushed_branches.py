"""A stack pushes the branch of a succeeded run once, whatever dies; an approver sees where beforehand."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sisu_pipeline.crash_points import POINTS
from sisu_pipeline.proof.harness.lab_stack import lab_stack
from sisu_pipeline.proof.harness.running_stack import RunningStack, connect_to
from tests.e2e.conftest import run_sisu, until
from tests.integration.git.repositories import git, git_text, make_repository

# A stack of its own.
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Pushing:
    """A stack, and the bare repository that its runs start from and push to."""

    stack: RunningStack
    remote: Path

    def submit(self, goal: str) -> str:
        """Start a run that changes the file `a`; returns its id once it waits for approval."""
        inputs = {
            "repo": {"path": str(self.remote), "ref": "main"},
            "patches": [{"targetPath": "a", "postimageContent": f"{goal}\n"}],
            "testCommand": "true",
        }
        _, stored = self.stack.post("/intents", {"goal": goal, "inputs": inputs, "constraints": {}})
        request = {"recipeName": "pushing", "queuePartitionKey": "pushes"}
        status, started = self.stack.post(f"/intents/{stored['intentId']}/run", request)
        assert status == 202, started
        until(lambda: self.run(started["runId"])["status"] == "waiting_input", f"{goal} at its gate")
        return str(started["runId"])

    def run(self, run_id: str) -> dict[str, Any]:
        """The run's view."""
        view: dict[str, Any] = self.stack.http.get(f"/runs/{run_id}").json()
        return view

    def sisu(self, *arguments: str) -> str:
        """What a command prints."""
        result = run_sisu(self.stack.process.environment, *arguments)
        assert result.status == 0, result.stdout + result.stderr
        return result.stdout


@pytest.fixture(scope="module")
def pushing() -> Iterator[Pushing]:
    """A stack that allows one folder of repositories, and a recipe that pushes to the repository of the run."""
    with tempfile.TemporaryDirectory(prefix="sisu-e2e-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        make_repository(folder / "git/work", {"a": "1\n"})
        git(folder / "git", "clone", "--quiet", "--bare", "work", "one.git")
        git(folder / "git/one.git", "config", "core.logAllRefUpdates", "always")
        (folder / "crash").mkdir()
        variables = {
            "SISU_PROFILE": "warm",
            "INTENT_QUEUE_RATE_LIMIT_PER_PERIOD": "0",
            "SBX_MODE": "mock",
            "OC_MODE": "replay",
            "SISU_GIT_ALLOW": str(folder / "git"),
            "SISU_CRASH_AT": str(folder / "crash"),
        }
        with lab_stack(folder / "home", variables, workers=1) as process, connect_to(process) as running:
            caps = {"maxConcurrency": 9, "maxSteps": 9, "maxSandboxMinutes": 9}
            status, _ = running.post("/recipes", {"name": "pushing", **caps, "push": {"remote": "origin"}})
            assert status == 201
            yield Pushing(running, folder / "git/one.git")


@pytest.mark.parametrize("point", [name for name in POINTS if name.startswith("push.")])
def test_wherever_the_code_server_dies_the_branch_is_pushed_once(pushing: Pushing, point: str) -> None:
    run_id = pushing.submit(point)
    shown = f"push: branch sisu/{run_id} to {pushing.remote}, once the run has succeeded"
    assert shown in pushing.sisu("gate", "show", run_id)
    order = Path(pushing.stack.process.environment["SISU_CRASH_AT"], point)
    order.touch()
    pushing.sisu("run", "approve", run_id)
    until(lambda: pushing.run(run_id).get("push", {}).get("state") == "pushed", "the push")
    until(lambda: not order.exists(), "no process died")
    push = pushing.run(run_id)["push"]
    assert push["commit"] == git_text(pushing.remote, "rev-parse", f"sisu/{run_id}")
    assert git_text(pushing.remote, "show", f"sisu/{run_id}:a") == point
    assert len((pushing.remote / "logs/refs/heads/sisu" / run_id).read_text().splitlines()) == 1
    assert f"pushed sisu/{run_id} to {pushing.remote}, commit {push['commit']}" in pushing.sisu(
        "run", "show", run_id
    )
    assert run_sisu(pushing.stack.process.environment, "oracle", "--json").status == 0


def test_a_branch_that_exists_is_reported_as_a_failure(pushing: Pushing) -> None:
    run_id = pushing.submit("taken")
    git(pushing.remote, "branch", f"sisu/{run_id}", "main")
    pushing.sisu("run", "approve", run_id)
    until(lambda: pushing.run(run_id).get("push", {}).get("state") == "failed", "the failure")
    view = pushing.run(run_id)
    assert view["status"] == "succeeded"
    assert "exists with another commit" in view["push"]["error"]
    (line,) = (line for line in pushing.sisu("run", "show", run_id).splitlines() if line.startswith("push "))
    assert line.split(maxsplit=1)[1].startswith(f"failed: the remote branch sisu/{run_id} exists")
