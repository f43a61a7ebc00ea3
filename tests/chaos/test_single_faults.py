"""One component fails: intents continue, and committed work stays committed."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from sisu_pipeline.proof.harness import stack_processes
from sisu_pipeline.proof.harness.lab_stack import lab_stack
from sisu_pipeline.proof.harness.running_stack import RunningStack, connect_to
from tests.chaos.conftest import VARIABLES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TASKS = 4
TIMEOUT_S = 90.0


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    """One stack for all tests: its supervisor restarts every process that dies."""
    with tempfile.TemporaryDirectory(prefix="sisu-single-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        with lab_stack(Path(folder) / "home", VARIABLES) as process, connect_to(process) as stack:
            yield stack


def immediate_stop(stack: RunningStack) -> None:
    """What `pg_ctl stop -m immediate` does."""
    server = stack_processes.stop_postgres_immediately(stack.process)
    psutil.wait_procs([server], timeout=30)


def crash_of_a_backend(stack: RunningStack) -> None:
    """SIGKILL of one server process: Postgres ends every session and recovers."""
    stack_processes.kill(stack.rows("labs.backends")[0]["pid"])


def end_of_every_session(stack: RunningStack) -> None:
    """Terminate every connection at once; Postgres keeps running."""
    stack.rows("labs.terminate", pids=[row["pid"] for row in stack.rows("labs.backends")])


@pytest.mark.parametrize("fault", [immediate_stop, crash_of_a_backend, end_of_every_session])
def test_a_run_in_execute_continues_after_its_database_failed(
    stack: RunningStack, fault: Callable[[RunningStack], None]
) -> None:
    inputs = {"tests": [f"2 t{number}" for number in range(TASKS)], "testCommand": "sleep"}
    workflow_id = stack.submit(f"the database fails: {fault.__name__}", inputs, "single")
    stack.approve(workflow_id)
    stack.wait_until(
        lambda: of_run(stack, workflow_id)["receipts"] == TASKS, TIMEOUT_S, lambda: "all tasks executing"
    )
    before = of_run(stack, workflow_id)
    assert set(before["steps"]) == {"CompileST", "ApplyPatchST", "DecideST"}
    fault(stack)
    wait_through_outage(stack, lambda: of_run(stack, workflow_id)["status"] == "succeeded")
    after = of_run(stack, workflow_id)
    assert (after["step_rows"], after["tasks"], after["receipts"], after["repeated"]) == (4, TASKS, TASKS, 0)
    assert before["steps"].items() <= after["steps"].items()
    stack.wait_until(
        lambda: stack.rows("labs.unsettled") == [], TIMEOUT_S, lambda: str(stack.rows("labs.unsettled"))
    )
    assert stack.broken_laws() == {}


@pytest.mark.parametrize("component", ["daemon", "code_server", "webserver", "api"])
def test_intents_continue_whichever_component_was_killed(stack: RunningStack, component: str) -> None:
    inputs = {"tests": [f"t{number}" for number in range(TASKS)]}
    waiting = stack.submit(f"waits while the {component} dies", inputs, "single")
    stack.wait_for_status([waiting], "waiting_input", TIMEOUT_S)
    killed = stack_processes.main_process(stack.process, component).pid
    stack_processes.kill(killed)
    fresh = stack.submit(f"comes while the {component} is dead", inputs, "single")
    for workflow_id in (waiting, fresh):
        stack.approve(workflow_id)
    stack.wait_for_status([waiting, fresh], "succeeded", TIMEOUT_S)
    stack.wait_until(
        lambda: stack_processes.main_process(stack.process, component).pid != killed,
        TIMEOUT_S,
        lambda: f"{component} to restart",
    )
    for workflow_id in (waiting, fresh):
        run = of_run(stack, workflow_id)
        assert (run["step_rows"], run["tasks"], run["receipts"], run["repeated"]) == (4, TASKS, TASKS, 0)
    assert stack.broken_laws() == {}


def of_run(stack: RunningStack, workflow_id: str) -> dict[str, Any]:
    """The run's row counts and status."""
    return stack.row("labs.of_run", workflow_id=workflow_id)


def wait_through_outage(stack: RunningStack, holds: Callable[[], bool]) -> None:
    """Wait for a condition on rows while the database may be down."""

    def holds_now() -> bool:
        with suppress(psycopg.OperationalError):
            return holds()
        return False

    stack.wait_until(holds_now, TIMEOUT_S, lambda: "the run to succeed")
