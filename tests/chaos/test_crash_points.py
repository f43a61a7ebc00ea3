"""API, sensors and launcher crash at their commits; the intent ends as without a crash."""

import pytest

from sisu_pipeline import crash_points
from tests.chaos.conftest import CrashStack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

INPUTS = {
    "tests": ["t1", "t2"],
    "files": {"a.txt": "before\n"},
    "patches": [{"targetPath": "a.txt", "postimageContent": "after\n", "diffText": "-before\n+after\n"}],
}
# A process needs some seconds to restart, Dagster's own the most.
TIMEOUT_S = 90.0

POINTS = [
    "api.commit.before",
    "api.commit.after",
    "gate.decide.before",
    "intent_sensor.request.before",
    "intent_sensor.request.after",
    "launcher.claim.before",
    "launcher.claim.after",
    "launcher.enqueue.after",
    "approval_sensor.enqueue.before",
    "approval_sensor.enqueue.after",
]
CLOSING = [
    "closing.roll_back.before",
    "closing.roll_back.after",
    "closing.mark.before",
    "closing.close.after",
]
# A worker crashes, and so does the process that would detect or replace it.
PAIRS = [
    ("approval_sensor.enqueue.after", "ExecuteST.commit.before"),
    ("launcher.enqueue.after", "CompileST.commit.after"),
    ("api.commit.after", "DecideST.commit.before"),
    ("launcher.claim.after", "recovery.give_back.before"),
]


@pytest.mark.parametrize("points", [*((point,) for point in POINTS), *PAIRS], ids=" ".join)
def test_an_intent_succeeds_once_whichever_process_crashes(
    crash_stack: CrashStack, points: tuple[str, ...]
) -> None:
    stack = crash_stack.stack
    first, *others = points
    if "recovery.give_back.before" in others:
        (crash_stack.crash_points / "ExecuteST.commit.before").touch()
    is_first = not first.startswith(("gate.", "approval_sensor."))
    if is_first:
        (crash_stack.crash_points / first).touch()
    for point in others:
        (crash_stack.crash_points / point).touch()
    workflow_id = stack.submit(f"crashes at {' and '.join(points)}", INPUTS, "chaos")
    stack.wait_for_status([workflow_id], "waiting_input", TIMEOUT_S)
    if not is_first:
        (crash_stack.crash_points / first).touch()
    stack.approve(workflow_id)
    stack.wait_for_status([workflow_id], "succeeded", TIMEOUT_S)
    left = [path.name for path in crash_stack.crash_points.iterdir()]
    assert left == [], f"not reached: {left}"
    run = stack.row("labs.of_run", workflow_id=workflow_id)
    assert (run["step_rows"], run["tasks"], run["receipts"], run["repeated"]) == (4, 2, 2, 0)
    assert stack.broken_laws() == {}


@pytest.mark.parametrize("point", CLOSING)
def test_a_canceled_run_is_cleaned_up_whichever_process_crashes(crash_stack: CrashStack, point: str) -> None:
    stack = crash_stack.stack
    workflow_id = stack.submit(f"canceled at {point}", INPUTS, "chaos")
    stack.wait_for_status([workflow_id], "waiting_input", TIMEOUT_S)
    (crash_stack.crash_points / point).touch()
    status, _ = stack.post(f"/runs/{workflow_id}/cancel", {"actor": "po"})
    assert status == 202
    stack.wait_until(
        lambda: stack.row("labs.of_run", workflow_id=workflow_id)["is_closed"],
        TIMEOUT_S,
        lambda: "the run to be closed",
    )
    assert list(crash_stack.crash_points.iterdir()) == []
    assert stack.row("labs.of_run", workflow_id=workflow_id)["patches_left"] == 0
    assert stack.broken_laws() == {}


def test_every_crash_point_outside_the_worker_is_tested() -> None:
    ours = ("api.", "intent_sensor.", "approval_sensor.", "launcher.", "gate.decide.", "closing.")
    assert {point for point in crash_points.POINTS if point.startswith(ours)} == {*POINTS, *CLOSING}
