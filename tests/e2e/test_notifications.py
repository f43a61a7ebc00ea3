"""On a whole stack, an event arrives once at each receiver although its notifier and connections are killed."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from sisu_pipeline.proof.harness.lab_stack import lab_stack
from sisu_pipeline.proof.harness.running_stack import RunningStack, connect_to
from tests.integration.notifications.receivers import Place, receivers, wait_until

VARIABLES = {"SBX_MODE": "mock", "INTENT_QUEUE_RATE_LIMIT_PER_PERIOD": "0", "DAGSTER_DISABLE_TELEMETRY": "1"}
TIMEOUT_S = 90.0
PROMPT_S = 2.0

pytestmark = pytest.mark.slow


@pytest.fixture
def place(free_port: Callable[[], int]) -> Iterator[Place]:
    """A webhook, a mail server and a server of ntfy on this machine."""
    with receivers(free_port()) as made:
        yield made


@pytest.fixture
def stack(place: Place) -> Iterator[RunningStack]:
    """A stack with these receivers."""
    with tempfile.TemporaryDirectory(prefix="sisu-notify-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        file = Path(folder) / "receivers.json"
        file.write_text(place.document(events=["gate.opened", "run.ended"]))
        variables = {**VARIABLES, "SISU_NOTIFICATIONS": str(file)}
        with lab_stack(Path(folder) / "home", variables, workers=1) as process, connect_to(process) as running:
            yield running


def test_each_event_arrives_although_the_notifier_and_every_connection_are_killed(
    stack: RunningStack, place: Place
) -> None:
    runs = [stack.submit("before anything is killed")]
    stack.wait_for_status(runs, "waiting_input", TIMEOUT_S)
    wait_until(lambda: all(len(counts) == 1 for counts in place.counts), 2 * PROMPT_S)
    first = notifier(stack)
    place.web.released.clear()
    runs.append(stack.submit("the notifier is killed while the webhook does not answer"))
    wait_until(lambda: place.web.requests == 2, TIMEOUT_S)
    first.kill()
    place.web.released.set()
    runs.append(stack.submit("every connection is cut"))
    stack.wait_for_status(runs, "waiting_input", TIMEOUT_S)
    with stack.database.connect() as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    for run in runs:
        stack.approve(run)
    stack.wait_for_status(runs, "succeeded", TIMEOUT_S)
    with stack.database.connect() as connection:
        rows = connection.execute(
            "SELECT id FROM app.notification_events WHERE kind IN ('gate.opened', 'run.ended')"
        ).fetchall()
    events = {row["id"] for row in rows}
    assert len(events) == 2 * len(runs)
    wait_until(lambda: all(counts.keys() == events for counts in place.counts), TIMEOUT_S)
    wait_until(lambda: settled(stack), TIMEOUT_S)
    # A receiver may have accepted a message of the process that was killed, and gets it again.
    assert sum(sum(counts.values()) for counts in place.counts) <= 3 * len(events) + 3
    assert notifier(stack).pid != first.pid


def notifier(stack: RunningStack) -> psutil.Process:
    """The notifier that the stack runs now."""
    children = psutil.Process(stack.process.pid).children()
    (found,) = [each for each in children if "sisu_pipeline.worker.notifier" in each.cmdline()]
    return found


def settled(stack: RunningStack) -> bool:
    """Whether every delivery was recorded as made."""
    with stack.database.connect() as connection:
        rows = connection.execute("SELECT DISTINCT state FROM app.notification_deliveries").fetchall()
    return [row["state"] for row in rows] == ["delivered"]
