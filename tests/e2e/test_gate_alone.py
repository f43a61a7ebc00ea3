"""Decisions made while only the API and Postgres run take effect after the restart."""

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
from sisu_pipeline.proof.harness import stack_processes
from sisu_pipeline.proof.harness.lab_stack import LabStack, lab_stack
from sisu_pipeline.proof.harness.running_stack import RunningStack, connect_to
from sisu_pipeline.settings import PROJECT_ROOT

VARIABLES = {"SBX_MODE": "mock", "INTENT_QUEUE_RATE_LIMIT_PER_PERIOD": "0", "DAGSTER_DISABLE_TELEMETRY": "1"}
FORM = {"type": "object", "properties": {"environment": {"enum": ["staging", "production"]}}}
FILES = {"a.txt": "before\n"}
PATCHES = [{"targetPath": "a.txt", "postimageContent": "after\n", "diffText": "-before\n+after\n"}]
TIMEOUT_S = 60.0

pytestmark = pytest.mark.slow


@pytest.fixture
def stack() -> Iterator[RunningStack]:
    """A stack for this test alone, which kills it."""
    with tempfile.TemporaryDirectory(prefix="sisu-alone-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        home = Path(folder) / "home"
        with lab_stack(home, VARIABLES, workers=1) as process, connect_to(process) as stack:
            try:
                yield stack
            finally:
                process.stop()
                # The restarted stack found the database running, and leaves it running.
                database_server.down(process.settings)


def test_decisions_made_while_only_the_api_and_postgres_live_take_effect_after_the_restart(
    stack: RunningStack,
) -> None:
    approved, rejected, asked = _waiting(stack)
    stack_processes.kill_everything(stack.process)
    with _api_alone(stack.process) as http:
        assert _post(http, approved, "approve-plan", {"approvedBy": "ann"}) == 202
        assert _post(http, approved, "reject-plan", {"rejectedBy": "bob", "reason": "no"}) == 409
        assert _post(http, rejected, "reject-plan", {"rejectedBy": "bob", "reason": "no"}) == 202
        (gate,) = http.get(f"/runs/{asked}/gates").json()["gates"]
        answer = {"answeredBy": "ann", "answer": {"environment": "staging"}}
        assert _post(http, asked, f"gates/{gate['gateKey']}/answer", answer) == 202
        # An early approval; its gate opens after the restart.
        assert _post(http, asked, "approve-plan", {"approvedBy": "ann"}) == 202
        assert stack.status_counts([approved, rejected, asked]) == {"waiting_input": 3}
    stack.process.start()
    stack.wait_until(lambda: _ended(stack, [approved, rejected, asked]), TIMEOUT_S, lambda: "every run to end")
    for workflow_id, end, executions in (
        (approved, "succeeded", 1),
        (rejected, "retries_exceeded", 0),
        (asked, "succeeded", 1),
    ):
        (run,) = stack.rows("gate_load.outcomes", workflow_ids=[workflow_id])
        assert (run["status"], run["executions"], run["dagster_runs"]) == (end, executions, 1)
        assert run["patches_left"] == executions
        (file,) = (stack.process.settings.workspaces / run["id"]).rglob("a.txt")
        assert file.read_text() == ("after\n" if executions else "before\n")
    assert stack.broken_laws() == {}


def _waiting(stack: RunningStack) -> list[str]:
    """Three waiting runs: two at the plan approval, one at a question."""
    constraints: list[dict[str, Any]] = [{}, {}, {"askUser": {"question": "Where to?", "form": FORM}}]
    ids = []
    for number, each in enumerate(constraints):
        inputs = {"files": FILES, "patches": PATCHES, "tests": ["t1"], "number": number}
        _, stored = stack.post("/intents", {"goal": "decided alone", "inputs": inputs, "constraints": each})
        body = {"recipeName": "sandbox-default", "queuePartitionKey": "alone"}
        assert stack.post(f"/intents/{stored['intentId']}/run", body)[0] == 202
        ids.append(str(stored["intentId"]))
    stack.wait_for_status(ids, "waiting_input", TIMEOUT_S)
    return ids


def _ended(stack: RunningStack, ids: list[str]) -> bool:
    return stack.status_counts(ids) == {"succeeded": 2, "retries_exceeded": 1}


def _post(http: httpx.Client, run: str, path: str, body: dict[str, Any]) -> int:
    return http.post(f"/runs/{run}/{path}", json=body).status_code


@contextmanager
def _api_alone(stack: LabStack) -> Iterator[httpx.Client]:
    """Run the API on the same data folder and port; of the other processes only Postgres runs."""
    assert not stack.is_running
    process = subprocess.Popen(
        [sys.executable, "-m", "sisu_pipeline.api.server"], cwd=PROJECT_ROOT, env=stack.environment
    )
    try:
        with httpx.Client(base_url=stack.url, timeout=30, trust_env=False) as http:
            _wait_until_ready(http)
            assert [each.pid for each in stack_processes.of_home(stack.settings.home)] == [process.pid]
            yield http
    finally:
        process.terminate()
        process.wait(20)


def _wait_until_ready(http: httpx.Client) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            if http.get("/runs").is_success:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, "the API does not answer"
        time.sleep(0.05)
