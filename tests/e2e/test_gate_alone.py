"""People decide while every process but the API and Postgres is dead: it is honoured after the restart."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from sisu_pipeline import database_server
from sisu_pipeline.proof.harness import running_stack as stages
from sisu_pipeline.proof.harness import stack_processes
from sisu_pipeline.proof.harness.lab_stack import LabStack, lab_stack
from sisu_pipeline.proof.harness.running_stack import Stage
from sisu_pipeline.settings import PROJECT_ROOT

VARIABLES = {"SBX_MODE": "mock", "INTENT_QUEUE_RATE_LIMIT_PER_PERIOD": "0", "DAGSTER_DISABLE_TELEMETRY": "1"}
FORM = {"type": "object", "properties": {"environment": {"enum": ["staging", "production"]}}}
FILES = {"a.txt": "before\n"}
PATCHES = [{"targetPath": "a.txt", "postimageContent": "after\n", "diffText": "-before\n+after\n"}]
PATIENCE_S = 60.0

pytestmark = pytest.mark.slow


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A stack of this test's own: it is killed."""
    with tempfile.TemporaryDirectory(prefix="sisu-alone-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        home = Path(folder) / "home"
        with lab_stack(home, VARIABLES, workers=1) as stack, stages.on(stack) as running:
            try:
                yield running
            finally:
                stack.stop()
                # The stack that was started again found the database running, and leaves it so.
                database_server.down(stack.settings)


def test_decisions_made_while_only_the_api_and_postgres_live_are_honoured_after_the_restart(stage: Stage) -> None:
    approved, rejected, asked = _waiting(stage)
    stack_processes.kill_everything(stage.stack)
    with _api_alone(stage.stack) as http:
        assert _say(http, approved, "approve-plan", {"approvedBy": "ann"}) == 202
        assert _say(http, approved, "reject-plan", {"rejectedBy": "bob", "reason": "no"}) == 409
        assert _say(http, rejected, "reject-plan", {"rejectedBy": "bob", "reason": "no"}) == 202
        (gate,) = http.get(f"/runs/{asked}/gates").json()["gates"]
        answer = {"answeredBy": "ann", "answer": {"environment": "staging"}}
        assert _say(http, asked, f"gates/{gate['gateKey']}/answer", answer) == 202
        # An early approval: its gate opens after the restart.
        assert _say(http, asked, "approve-plan", {"approvedBy": "ann"}) == 202
        assert stage.statuses([approved, rejected, asked]) == {"waiting_input": 3}
    stage.stack.start()
    stage.until(lambda: _ended(stage, [approved, rejected, asked]), PATIENCE_S, lambda: "every run ended")
    for workflow_id, end, executions in (
        (approved, "succeeded", 1),
        (rejected, "retries_exceeded", 0),
        (asked, "succeeded", 1),
    ):
        (run,) = stage.rows("gate_load.outcomes", workflow_ids=[workflow_id])
        assert (run["status"], run["executions"], run["dagster_runs"]) == (end, executions, 1)
        assert run["patches_left"] == executions
        (file,) = (stage.stack.settings.workspaces / run["id"]).rglob("a.txt")
        assert file.read_text() == ("after\n" if executions else "before\n")
    assert stage.broken_laws() == {}


def _waiting(stage: Stage) -> list[str]:
    """Three runs that wait: two at the plan, one at a question."""
    constraints: list[dict[str, Any]] = [{}, {}, {"askUser": {"question": "Where to?", "form": FORM}}]
    ids = []
    for number, each in enumerate(constraints):
        inputs = {"files": FILES, "patches": PATCHES, "tests": ["t1"], "number": number}
        _, kept = stage.post("/intents", {"goal": "decided alone", "inputs": inputs, "constraints": each})
        body = {"recipeName": "sandbox-default", "queuePartitionKey": "alone"}
        assert stage.post(f"/intents/{kept['intentId']}/run", body)[0] == 202
        ids.append(str(kept["intentId"]))
    stage.wait_for(ids, "waiting_input", PATIENCE_S)
    return ids


def _ended(stage: Stage, ids: list[str]) -> bool:
    return stage.statuses(ids) == {"succeeded": 2, "retries_exceeded": 1}


def _say(http: httpx.Client, run: str, verb: str, body: dict[str, Any]) -> int:
    return http.post(f"/runs/{run}/{verb}", json=body).status_code


@contextmanager
def _api_alone(stack: LabStack) -> Iterator[httpx.Client]:
    """The API over the same data folder and port; no other process of the stack lives, save Postgres."""
    assert not stack.is_running
    process = subprocess.Popen(
        [sys.executable, "-m", "sisu_pipeline.api.server"], cwd=PROJECT_ROOT, env=stack.environment
    )
    try:
        with httpx.Client(base_url=stack.url, timeout=30, trust_env=False) as http:
            _until_it_answers(http)
            assert [each.pid for each in stack_processes.of_home(stack.settings.home)] == [process.pid]
            yield http
    finally:
        process.terminate()
        process.wait(20)


def _until_it_answers(http: httpx.Client) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            if http.get("/runs").is_success:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, "the API does not answer"
        time.sleep(0.05)
