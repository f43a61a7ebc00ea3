"""The disk of the data folder is full until Postgres has ended and cannot start: then intents continue."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from sisu_pipeline.proof.harness import stack_processes
from sisu_pipeline.proof.harness.lab_stack import LabFailed, lab_stack
from sisu_pipeline.proof.harness.limited_disk import LimitedDisk, NoLimitedDisk, limited_disk
from sisu_pipeline.proof.harness.running_stack import RunningStack, connect_to
from tests.chaos.conftest import VARIABLES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TIMEOUT_S = 90.0
INTENTS = 6
SIZE = 2**29
# Fills segments of the write-ahead log until Postgres has to create one.
_WRITE_LOG = "SELECT pg_logical_emit_message(true, 'lab', repeat('x', 10000000))"


@pytest.fixture
def place() -> Iterator[tuple[LimitedDisk, RunningStack]]:
    with tempfile.TemporaryDirectory(prefix="sisu-full-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        try:
            with (
                limited_disk(Path(folder) / "home", SIZE) as disk,
                lab_stack(disk.folder, VARIABLES) as process,
                connect_to(process) as stack,
            ):
                yield disk, stack
        except NoLimitedDisk as refusal:
            pytest.skip(str(refusal))


def test_intents_continue_after_the_disk_of_the_stack_was_full(place: tuple[LimitedDisk, RunningStack]) -> None:
    disk, stack = place
    inputs = {"tests": ["1 a", "1 b"], "testCommand": "sleep", "files": {"a.txt": "1\n"}}
    workflow_ids = [stack.submit(f"the disk is full: {number}", inputs) for number in range(INTENTS)]
    stack.wait_for_status(workflow_ids, "waiting_input", TIMEOUT_S)
    for workflow_id in workflow_ids:
        stack.approve(workflow_id)
    with disk.full():
        end_postgres(stack)
        log = stack.process.settings.home / "postgres" / "log"
        # The supervisor's first attempts to start it again fail too.
        stack.wait_until(
            lambda: log.read_text(errors="replace").count("No space left on device") >= 3,
            TIMEOUT_S,
            lambda: "a start of Postgres on the full disk",
        )
    stack.wait_until(lambda: is_up(stack), TIMEOUT_S, lambda: "Postgres to run again")
    stack.wait_for_status(workflow_ids, "succeeded", TIMEOUT_S)
    runs = stack.rows("gate_load.outcomes", workflow_ids=workflow_ids)
    assert [run["executions"] for run in runs] == [2] * INTENTS
    assert stack.broken_laws() == {}


def end_postgres(stack: RunningStack) -> None:
    """Write until the server that cannot write any more ends."""

    def has_ended() -> bool:
        try:
            with stack.database.connect(autocommit=True) as connection:
                for _ in range(50):
                    connection.execute(_WRITE_LOG)
        except psycopg.OperationalError:
            return not is_up(stack)
        return False

    stack.wait_until(has_ended, TIMEOUT_S, lambda: "Postgres to end")


def is_up(stack: RunningStack) -> bool:
    """Whether the server runs and answers."""
    try:
        stack_processes.postmaster(stack.process)
        return bool(stack.rows("labs.ended_runs"))
    except (LabFailed, psycopg.Error):
        return False
