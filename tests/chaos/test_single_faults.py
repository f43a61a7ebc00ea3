"""One thing dies, alone: intents go on, and what was done stays done."""

import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from sisu_pipeline.proof.harness import running_stack as stages
from sisu_pipeline.proof.harness import stack_processes
from sisu_pipeline.proof.harness.lab_stack import lab_stack
from sisu_pipeline.proof.harness.running_stack import Stage
from tests.chaos.conftest import VARIABLES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TASKS = 4
PATIENCE_S = 90.0


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """One stack for many deaths: its supervisor starts again whatever dies."""
    with tempfile.TemporaryDirectory(prefix="sisu-single-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        with lab_stack(Path(folder) / "home", VARIABLES) as stack, stages.on(stack) as stage:
            yield stage


def immediate_stop(stage: Stage) -> None:
    """What `pg_ctl stop -m immediate` does."""
    server = stack_processes.postmaster(stage.stack)
    stack_processes.send(server.pid, signal.SIGQUIT)
    psutil.wait_procs([server], timeout=30)


def crash_of_a_backend(stage: Stage) -> None:
    """One server process is killed: Postgres ends every session, and recovers."""
    stack_processes.kill(stage.rows("labs.backends")[0]["pid"])


def end_of_every_session(stage: Stage) -> None:
    """Every connection of everybody is cut at once; Postgres lives."""
    stage.rows("labs.terminate", pids=[row["pid"] for row in stage.rows("labs.backends")])


@pytest.mark.parametrize("fault", [immediate_stop, crash_of_a_backend, end_of_every_session])
def test_a_run_in_execute_goes_on_after_its_database_was_gone(stage: Stage, fault: Callable[[Stage], None]) -> None:
    inputs = {"tests": [f"2 t{number}" for number in range(TASKS)], "testCommand": "sleep"}
    workflow_id = stage.submit(f"the database goes away: {fault.__name__}", inputs, "single")
    stage.approve(workflow_id)
    stage.until(lambda: of_run(stage, workflow_id)["receipts"] == TASKS, PATIENCE_S, lambda: "every task executing")
    before = of_run(stage, workflow_id)
    assert set(before["steps"]) == {"CompileST", "ApplyPatchST", "DecideST"}
    fault(stage)
    patient(stage, lambda: of_run(stage, workflow_id)["status"] == "succeeded")
    after = of_run(stage, workflow_id)
    assert (after["step_rows"], after["tasks"], after["receipts"], after["repeated"]) == (4, TASKS, TASKS, 0)
    assert before["steps"].items() <= after["steps"].items()
    stage.until(lambda: stage.rows("labs.unsettled") == [], PATIENCE_S, lambda: str(stage.rows("labs.unsettled")))
    assert stage.broken_laws() == {}


@pytest.mark.parametrize("component", ["daemon", "code_server", "webserver", "api"])
def test_intents_go_on_whichever_part_was_killed(stage: Stage, component: str) -> None:
    inputs = {"tests": [f"t{number}" for number in range(TASKS)]}
    waiting = stage.submit(f"waits while the {component} dies", inputs, "single")
    stage.wait_for([waiting], "waiting_input", PATIENCE_S)
    killed = stack_processes.main_process(stage.stack, component).pid
    stack_processes.kill(killed)
    fresh = stage.submit(f"comes while the {component} is dead", inputs, "single")
    for workflow_id in (waiting, fresh):
        stage.approve(workflow_id)
    stage.wait_for([waiting, fresh], "succeeded", PATIENCE_S)
    stage.until(
        lambda: stack_processes.main_process(stage.stack, component).pid != killed,
        PATIENCE_S,
        lambda: "another process",
    )
    for workflow_id in (waiting, fresh):
        run = of_run(stage, workflow_id)
        assert (run["step_rows"], run["tasks"], run["receipts"], run["repeated"]) == (4, TASKS, TASKS, 0)
    assert stage.broken_laws() == {}


def of_run(stage: Stage, workflow_id: str) -> dict[str, Any]:
    """The run's state."""
    return stage.row("labs.of_run", workflow_id=workflow_id)


def patient(stage: Stage, holds: Callable[[], bool]) -> None:
    """Wait for a condition on rows, through the time in which nobody can be asked."""

    def answered() -> bool:
        with suppress(psycopg.OperationalError):
            return holds()
        return False

    stage.until(answered, PATIENCE_S, lambda: "the run's end")
